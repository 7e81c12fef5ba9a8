#!/bin/bash
# The parts of the official image's entrypoint that the stack leans on.
set -euo pipefail

package=$(/venv/bin/python -c 'import pgadmin4; print(pgadmin4.__path__[0])')
cat >/pgadmin4/config_local.py <<SETTINGS
SERVER_MODE = True
DATA_DIR = '/var/lib/pgadmin'
LOG_FILE = '/dev/null'
SQLITE_PATH = '/var/lib/pgadmin/pgadmin4.db'
SESSION_DB_PATH = '/var/lib/pgadmin/sessions'
STORAGE_DIR = '/var/lib/pgadmin/storage'
UPGRADE_CHECK_ENABLED = False
SETTINGS
env | sed -n "s/^PGADMIN_CONFIG_\([A-Z_]*\)=\(.*\)/\1 = \2/p" >>/pgadmin4/config_local.py
export PYTHONPATH=/pgadmin4:$package

if [ ! -e /var/lib/pgadmin/pgadmin4.db ]; then
    PGADMIN_SETUP_EMAIL=$PGADMIN_DEFAULT_EMAIL
    PGADMIN_SETUP_PASSWORD=$(<"$PGADMIN_DEFAULT_PASSWORD_FILE")
    export PGADMIN_SETUP_EMAIL PGADMIN_SETUP_PASSWORD
    /venv/bin/python "$package/setup.py" setup-db
    /venv/bin/python "$package/setup.py" load-servers /pgadmin4/servers.json --user "$PGADMIN_DEFAULT_EMAIL"
    storage=/var/lib/pgadmin/storage/${PGADMIN_DEFAULT_EMAIL/@/_}
    mkdir -p "$storage" && cp "$PGPASS_FILE" "$storage/.pgpass" && chmod 600 "$storage/.pgpass"
fi
cd "$package"
exec /venv/bin/gunicorn --bind "0.0.0.0:$PGADMIN_LISTEN_PORT" --workers 1 --threads 25 pgAdmin4:app
