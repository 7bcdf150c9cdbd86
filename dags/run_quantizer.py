"""Airflow DAG: the quantizer in production, with the configuration that the sweeps found best for throughput."""

from pipeline_tuner.dag_factory import production_dag

# Without a `source` the study's own points are rolled up; each run takes the next hour of them.
WORKLOAD = {"target": "lake.quantizer.rollups", "batch_ms": 3_600_000}

dag = production_dag("quantizer", goal="throughput", workload=WORKLOAD)
