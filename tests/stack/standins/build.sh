#!/usr/bin/env bash
# Without access to an image registry: build what `make test-stack` needs besides local stand-ins for the official images.
#   tests/stack/standins/build.sh debian:bookworm apache/airflow:3.3.2-python3.12
# pgAdmin and Prometheus are built on the first image. The second is the local stand-in for Airflow: it gets git, as the official image has
# it, and the names of the slim image and of Python's. The stand-ins for Postgres and Redis get the folder permissions of
# the official images: they are `postgres:17` and `redis:7` before, and get the names that the stack has for them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export DOCKER_BUILDKIT=0 # BuildKit would look for local images in a registry

named() { # the official image that docker-compose.yaml names by this setting
    sed -n "s/.*\${$1:-\([^}]*\)}.*/\1/p" ../../../docker-compose.yaml | head -1
}
airflow=$(named AIRFLOW_IMAGE)

docker build --quiet --tag "$airflow" - <<GIT
FROM $2
USER root
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends git && rm -rf /var/lib/apt/lists/*
USER airflow
GIT
docker build --quiet --tag "$(named PYTHON_IMAGE)" - <<<"FROM $airflow"$'\nUSER root\nENTRYPOINT []'
docker build --quiet --tag "$(named PGADMIN_IMAGE)" --build-arg "BASE=$1" pgadmin
docker build --quiet --tag "$(named PROMETHEUS_IMAGE)" --build-arg "BASE=$1" prometheus
docker build --quiet --tag "$(named STATSD_EXPORTER_IMAGE)" --build-arg "BASE=$(named PYTHON_IMAGE)" statsd_exporter
docker build --quiet --tag "$(named POSTGRES_IMAGE)" - <<<$'FROM postgres:17\nRUN chmod 3777 /var/run/postgresql'
docker build --quiet --tag "$(named REDIS_IMAGE)" - <<<$'FROM redis:7\nRUN mkdir -p /data && chown redis:redis /data'
