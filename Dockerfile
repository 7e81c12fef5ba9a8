# The image of every Airflow container: the official one, the lock, and this bundle. Another base of the same kind:
#   AIRFLOW_IMAGE=apache/airflow:3.3.2-python3.12 make up
# The slim image has Airflow alone, so that the lock alone says what comes with it.
ARG AIRFLOW_IMAGE=apache/airflow:slim-3.3.2-python3.12

# pgpq is published without a wheel for Linux on arm64, as on Apple's machines: there it is built, elsewhere this is empty.
FROM ${AIRFLOW_IMAGE} AS wheels
COPY requirements.txt /tmp/
USER root
RUN install -d -o airflow /wheels; \
    test "$(uname -m)" != aarch64 || \
    { apt-get update && apt-get install -y --no-install-recommends build-essential curl; }
USER airflow
RUN test "$(uname -m)" != aarch64 || { \
        curl -fsS https://sh.rustup.rs | sh -s -- -y --profile minimal && . ~/.cargo/env && \
        pip wheel --no-deps --wheel-dir /wheels "$(grep '^pgpq==' /tmp/requirements.txt)"; \
    }

FROM ${AIRFLOW_IMAGE} AS airflow
COPY --from=wheels /wheels /wheels
COPY requirements.txt /tmp/
RUN pip install --no-cache-dir --find-links /wheels --requirement /tmp/requirements.txt
# An airflow.cfg that is there keeps Airflow from writing one, with its defaults of today frozen in it.
RUN mkdir -p /opt/airflow/lake /opt/airflow/scratch && touch /opt/airflow/airflow.cfg
COPY --chown=airflow:0 . /opt/airflow/bundle/

# Storage and BigQuery on this machine, for the profile local-cloud.
FROM airflow AS local-cloud
COPY requirements-dev.txt /tmp/
RUN pip install --no-cache-dir --constraint /tmp/requirements-dev.txt duckdb gcp-storage-emulator sqlglot && \
    mkdir /opt/airflow/local-cloud
WORKDIR /opt/airflow/bundle
