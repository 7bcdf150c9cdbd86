"""What the measurements say. Pure: no Airflow, no Spark, no database."""
