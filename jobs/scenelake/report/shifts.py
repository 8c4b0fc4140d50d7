"""What moved: distributions of measurements, of a day against the days before or of a release against another.

DuckDB gathers and orders the values, and lays out of memory what does not fit; they come here batch by batch.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from scenelake.quality.catalogue import CATALOGUE
from scenelake.quality.shift import Shift, shifts

_ROWS_AT_ONCE = 65_536
_MEMORY = "2GB"

_OF_A_DAY = """
SELECT concat_ws('/', v.fleet, v.robot_id) AS robot_id, q.channel, q.check_name, q.check_version, q.measured,
       q.evidence, q.drive_date = $day AS is_after
FROM qc_measurement q JOIN drive v USING (drive_id)
WHERE q.drive_date BETWEEN $first AND $day AND v.drive_date BETWEEN $first AND $day
AND (v.fleet, v.robot_id) IN (SELECT (fleet, robot_id) FROM drive WHERE drive_date = $day)
"""

_OF_RELEASES = """
SELECT concat_ws('/', v.fleet, v.robot_id) AS robot_id, q.channel, q.check_name, q.check_version, q.measured,
       q.evidence, false AS is_after
FROM before.qc_measurement q JOIN before.drive v USING (drive_id)
WHERE q.scene_id IN (SELECT scene_id FROM before.scene)
UNION ALL
SELECT concat_ws('/', v.fleet, v.robot_id) AS robot_id, q.channel, q.check_name, q.check_version, q.measured,
       q.evidence, true AS is_after
FROM after.qc_measurement q JOIN after.drive v USING (drive_id)
WHERE q.scene_id IN (SELECT scene_id FROM arrived)
"""

# As baseline.observations does it. Each branch reads the columns that it needs: evidence is much the largest.
_OBSERVED = """
WITH measured AS NOT MATERIALIZED ({measured}),
observed AS (
  SELECT robot_id, coalesce(channel, '') AS channel, check_name AS statistic, measured AS value, is_after
  FROM measured WHERE check_name || ' ' || check_version IN (SELECT unnest($versions))
  UNION ALL
  SELECT robot_id, coalesce(channel, ''), check_name || ':' || told.key, try_cast(told.value AS DOUBLE), is_after
  FROM measured, json_each(evidence, '$.statistics') AS told
  WHERE check_name || ' ' || check_version IN (SELECT unnest($versions)) AND contains(evidence, '"statistics"'))
SELECT robot_id, channel, statistic, value, is_after FROM observed WHERE isfinite(value)
ORDER BY robot_id, channel, statistic, value
"""


class Sql(Protocol):
    """What this package asks of a database over the tables of a release."""

    def execute(self, query: str, parameters: Mapping[str, object]) -> Any: ...


def bound_memory(sql: Sql, folder: Path) -> None:
    """Has the database hold so much, and lay out the rest in a folder that belongs to the caller."""
    sql.execute(f"SET memory_limit = '{_MEMORY}'", {})
    sql.execute("SET temp_directory = '{}'".format(str(folder).replace("'", "''")), {})


def shifts_of_day(sql: Sql, day: date, first: date) -> list[Shift]:
    """The day's measurements against those of the days from ``first`` on, of the vehicles that drove on the day.

    A shift's ``robot_id`` is ``fleet/vehicle``, as fleets share names. Scenes that were held back count on either
    side: the question is what the sensors did.
    """
    return _shifts(sql, _OF_A_DAY, {"day": day, "first": first})


def shifts_of_releases(sql: Sql) -> list[Shift]:
    """Scenes of one release against those that another one brought or built anew.

    Args:
        sql: with the tables of the two in the schemas ``before`` and ``after``, and the ids of those scenes in
            ``arrived``.
    """
    return _shifts(sql, _OF_RELEASES, {})


def _shifts(sql: Sql, measured: str, parameters: Mapping[str, object]) -> list[Shift]:
    versions = [f"{name} {check.version}" for name, check in CATALOGUE.items()]
    found = sql.execute(_OBSERVED.format(measured=measured), {**parameters, "versions": versions})
    return shifts(found.to_arrow_reader(_ROWS_AT_ONCE))
