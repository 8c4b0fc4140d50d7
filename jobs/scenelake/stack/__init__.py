"""The laptop stack: AWS stand-in, landing zone from the template, event delivery, Airflow's processes."""
