"""What a task of a finished DAG run has left in XCom."""

from __future__ import annotations


def xcom(dag_run, task_id, map_index=-1):
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        row = session.scalars(
            XComModel.get_many(
                run_id=dag_run.run_id,
                dag_ids=dag_run.dag_id,
                task_ids=task_id,
                map_indexes=map_index,
                key="return_value",
            )
        ).first()
        return XComModel.deserialize_value(row) if row else None
