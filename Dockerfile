# The images of the stack. `airflow` is the official Airflow image with the locked packages and this bundle:
#   AIRFLOW_IMAGE=apache/airflow:slim-3.3.2-python3.11 make up   builds it from another tag
#   TAXI_REQUIREMENTS=requirements-extra.txt make up              adds the providers for S3 and Kubernetes, and StatsD
# The slim image has only Airflow, so the lock decides which other packages are installed.
ARG AIRFLOW_IMAGE=apache/airflow:slim-3.3.2-python3.12
ARG PYTHON_IMAGE=python:3.12.13-slim-bookworm

FROM ${AIRFLOW_IMAGE} AS airflow
ARG TAXI_REQUIREMENTS=requirements.txt
COPY ${TAXI_REQUIREMENTS} /tmp/requirements.txt
RUN pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: --requirement /tmp/requirements.txt
# Without an airflow.cfg, Airflow would write one that freezes today's defaults.
RUN mkdir -p /opt/airflow/duckdb /opt/airflow/lake /opt/airflow/scratch && touch /opt/airflow/airflow.cfg
COPY --chown=airflow:0 .airflowignore /opt/airflow/bundle/
COPY --chown=airflow:0 dags /opt/airflow/bundle/dags/
COPY --chown=airflow:0 deploy/*.py deploy/local-cloud.sh /opt/airflow/bundle/deploy/
COPY --chown=airflow:0 include /opt/airflow/bundle/include/
COPY --chown=airflow:0 plugins /opt/airflow/bundle/plugins/
# The containers run as another user and write nothing here, so a module that is not compiled now is compiled by each process
# that imports it. Some packages have files for other Pythons, which do not compile.
USER root
RUN python -m compileall -q -j 0 /opt/airflow/bundle /home/airflow/.local \
        "$(python -c 'import os; print(os.path.dirname(os.__file__))')" > /dev/null || true
USER airflow

# GCS and BigQuery emulated locally, for the profile local-cloud. It has none of the bundle, and not Airflow.
FROM ${PYTHON_IMAGE} AS local-cloud
COPY devtools/emulators/requirements.txt /tmp/
RUN pip install --no-cache-dir --root-user-action ignore --no-deps --require-hashes --only-binary :all: \
        --requirement /tmp/requirements.txt && \
    install -d -o 50000 /data
WORKDIR /opt/local-cloud
COPY devtools/__init__.py /opt/local-cloud/devtools/
COPY devtools/emulators /opt/local-cloud/devtools/emulators/
USER 50000
