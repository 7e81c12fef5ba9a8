# Read by bash in Airflow's containers, through BASH_ENV: gives the addresses of the local cloud their key.
if [ "${STORAGE_EMULATOR_HOST:-}" = http://local-cloud:4443 ] && [ -r "${CLOUD_KEY_FILE:=/run/secrets/cloud_key}" ]; then
    export STORAGE_EMULATOR_HOST="http://local-cloud:4443/$(cat "$CLOUD_KEY_FILE")"
    export BIGQUERY_EMULATOR_HOST="http://local-cloud:9050/$(cat "$CLOUD_KEY_FILE")"
fi
