SET LOCAL search_path = public;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL datestyle = 'ISO, MDY';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL quote_all_identifiers = off;
SET LOCAL array_nulls = on;
SET LOCAL extra_float_digits = 1;
SET LOCAL standard_conforming_strings = on;
