"""The page inside Airflow: studies, sweeps, trials, history, and what production runs with."""
