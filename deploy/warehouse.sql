-- Runs once, in an empty warehouse: the role taxi owns one database and has no other right.
\set password `cat /run/secrets/password`
CREATE ROLE taxi LOGIN PASSWORD :'password';
CREATE DATABASE ny_taxi OWNER taxi;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
REVOKE CONNECT, TEMPORARY ON DATABASE ny_taxi FROM PUBLIC;
