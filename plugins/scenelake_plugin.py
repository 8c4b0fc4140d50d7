"""Registers Scenelake with Airflow. Triggers, operators and assets need no registration: they are imported."""

from airflow.plugins_manager import AirflowPlugin


class ScenelakePlugin(AirflowPlugin):
    """Shows under Admin > Plugins that the plugins folder is the one Airflow reads."""

    name = "scenelake"
