"""Airflow DAG: four tasks as they were, each with one keyword more."""

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, chain

from pipeline_tuner import tuned

UPSERT = [
    "SELECT set_config('work_mem', %(work_mem)s, false)",
    "INSERT INTO order_totals SELECT mod(id, %(batch)s), count(*) FROM generate_series(1, 100000) AS id GROUP BY 1"
    " ON CONFLICT (bucket) DO UPDATE SET orders = order_totals.orders + excluded.orders",
]


def count_words(chunk: int = 100) -> dict[str, int]:
    """Count words, so many lines at a time."""
    lines = [f"order {number} of {number % 7}" for number in range(20_000)]
    words = 0
    for start in range(0, len(lines), chunk):
        words += len(" ".join(lines[start : start + chunk]).split())
    return {"words": words}


with DAG("nightly_tasks", schedule="0 3 * * *", catchup=False) as dag:
    pack = BashOperator(
        task_id="pack",
        bash_command="seq 1 500000 | gzip -$LEVEL | wc -c",
        env={"LEVEL": "6"},
        append_env=True,
        **tuned("docs/examples/pack.yaml"),
    )
    upsert = SQLExecuteQueryOperator(
        task_id="upsert",
        conn_id="orders_db",
        sql=UPSERT,
        parameters={"work_mem": "4MB", "batch": 1000},
        **tuned("docs/examples/upsert.yaml"),
    )
    words = PythonOperator(
        task_id="words",
        python_callable=count_words,
        op_kwargs={"chunk": 100},
        **tuned("docs/examples/words.yaml"),
    )
    report = SparkSubmitOperator(
        task_id="report",
        conn_id="spark_default",
        application="docs/examples/report.py",
        # No study yet: its runs are noted with what stands at these two places.
        **tuned("report", sets={"partitions": "conf.spark.sql.shuffle.partitions", "memory": "driver_memory"}),
    )
    chain(pack, upsert, words, report)
