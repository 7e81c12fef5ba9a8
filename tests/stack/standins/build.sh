#!/usr/bin/env bash
# Where no image registry can be reached: what `make test-stack` needs beside local stand-ins for the official images.
#   tests/stack/standins/build.sh debian:bookworm apache/airflow:3.3.2-python3.12
# The first is a local image to build pgAdmin on, the second the local stand-in for Airflow, which gets the slim image's name
# and the git of the official images. Those for Postgres and Redis get the permissions of the official images' folders.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export DOCKER_BUILDKIT=0 # BuildKit would look for local images in a registry

docker build --quiet --tag apache/airflow:slim-3.3.2-python3.12 - <<GIT
FROM $2
USER root
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends git && rm -rf /var/lib/apt/lists/*
USER airflow
GIT
docker build --quiet --tag dpage/pgadmin4:9 --build-arg "BASE=$1" pgadmin
docker build --quiet --tag postgres:17 - <<<$'FROM postgres:17\nRUN chmod 3777 /var/run/postgresql'
docker build --quiet --tag redis:7 - <<<$'FROM redis:7\nRUN mkdir -p /data && chown redis:redis /data'
