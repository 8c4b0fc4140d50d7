"""Scenelake's side of Airflow: triggers, operators and assets.

Takes what DAGs ask for and launches jobs; gives Airflow their verdicts. Holds no domain logic: it knows the
contracts' stages and exit codes, the settings, and Airflow.
"""
