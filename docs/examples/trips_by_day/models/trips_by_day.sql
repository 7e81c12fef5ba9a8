{{ config(materialized="incremental", incremental_strategy="delete+insert", unique_key="file_month") }}

SELECT
    file_month,
    CAST(pickup_datetime AS date) AS pickup_date,
    count(*) AS trips,
    sum(total_amount) AS total_amount,
    current_timestamp AS built_at
FROM {{ source("loaded", "green_taxi_trips") }}
{% if is_incremental() %}
WHERE file_month = CAST('{{ var("month") }}-01' AS date)
{% endif %}
GROUP BY file_month, CAST(pickup_datetime AS date)
