#!/bin/sh
# Run Airflow with its web page. In a Codespace the browser reaches it at a forwarded address, which Airflow redirects to.
if [ -n "${CODESPACE_NAME-}" ]; then
    export AIRFLOW__API__BASE_URL="https://$CODESPACE_NAME-8080.${GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN:-app.github.dev}"
fi
exec make ui
