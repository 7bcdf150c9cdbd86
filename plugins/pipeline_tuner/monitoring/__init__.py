"""Monitoring of production: nightly runs, drift, alerts, promotion, validity and retention.

| module | holds |
|---|---|
| `nights` | what a study says of its nights, and what a night has to tell |
| `night_plan` | which configurations a night measures |
| `night_values`, `drift` | what a night measured, and changes of level over the nights |
| `promotion`, `validity` | what production should run with, and where that holds |
| `store` | the nights, alerts and retention in the results database |
| `start`, `conclusion`, `notify`, `retention` | what Airflow's tasks do |
| `report` | the chapter of the written analysis |
"""
