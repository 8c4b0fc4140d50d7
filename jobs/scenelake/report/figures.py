"""A day in figures, asked of a release by SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from scenelake.quality.shift import Shift
from scenelake.report.config import ReportConfig
from scenelake.report.shifts import Sql, shifts_of_day

Row = dict[str, Any]

_VOLUME = """
WITH drives AS (SELECT * FROM drive WHERE drive_date = $day),
objects AS (
  SELECT drive_id, sum(size_bytes) AS size_bytes, count(*) AS nbr_objects FROM raw_object
  WHERE drive_id IN (SELECT drive_id FROM drives) GROUP BY 1),
messages AS (
  SELECT drive_id, sum(nbr_messages) AS nbr_messages, sum(nbr_accepted) AS nbr_accepted,
         sum(nbr_quarantined) AS nbr_quarantined, sum(nbr_undecodable) AS nbr_undecodable FROM message_account
  WHERE drive_id IN (SELECT drive_id FROM drives) GROUP BY 1),
scenes AS (
  SELECT drive_id, count(*) AS nbr_scenes, sum(exclusive_end_ns - start_ns) / 3.6e12 AS hours,
         sum(nbr_samples) AS nbr_samples FROM scene WHERE drive_id IN (SELECT drive_id FROM drives) GROUP BY 1),
held AS (
  SELECT drive_id, count(*) FILTER (state = 'QUARANTINED') AS nbr_waiting, count(*) FILTER (state = 'REJECTED')
         AS nbr_rejected FROM quarantine WHERE drive_id IN (SELECT drive_id FROM drives) GROUP BY 1)
SELECT concat_ws('/', fleet, robot_id) AS vehicle, count(*)::INT AS nbr_drives,
       sum(nbr_objects)::BIGINT AS nbr_objects,
       coalesce(sum(size_bytes), 0)::BIGINT AS size_bytes, sum(nbr_messages)::BIGINT AS nbr_messages,
       sum(nbr_accepted)::BIGINT AS nbr_accepted, sum(nbr_undecodable)::BIGINT AS nbr_undecodable,
       coalesce(sum(nbr_scenes), 0)::BIGINT AS nbr_scenes, coalesce(sum(hours), 0)::DOUBLE AS hours,
       coalesce(sum(nbr_samples), 0)::BIGINT AS nbr_samples, coalesce(sum(nbr_waiting), 0)::BIGINT AS nbr_waiting,
       coalesce(sum(nbr_rejected), 0)::BIGINT AS nbr_rejected
FROM drives LEFT JOIN objects USING (drive_id) LEFT JOIN messages USING (drive_id) LEFT JOIN scenes USING (drive_id)
LEFT JOIN held USING (drive_id) GROUP BY vehicle ORDER BY vehicle
"""

_CHECKS = """
SELECT concat_ws('/', fleet, robot_id) AS vehicle, m.check_name,
       count(*) FILTER (q.verdict IS NULL AND m.measured IS NOT NULL) AS nbr_pass,
       count(*) FILTER (q.verdict IS NULL AND m.measured IS NULL) AS nbr_unknown,
       count(*) FILTER (q.verdict = 'warn') AS nbr_warn,
       count(*) FILTER (q.verdict IN ('quarantine', 'reject')) AS nbr_bad, any_value(q.reason) AS reason
FROM qc_measurement m JOIN drive v USING (drive_id)
LEFT JOIN qc_result q ON m.scene_id = q.scene_id AND m.check_name = q.check_name
AND m.channel IS NOT DISTINCT FROM q.channel
WHERE m.drive_date = $day AND v.drive_date = $day
GROUP BY ALL ORDER BY nbr_bad DESC, nbr_warn DESC, m.check_name
"""

_SENSORS = """
SELECT concat_ws('/', fleet, robot_id) AS vehicle, channel, any_value(modality) AS modality,
       median(measured) FILTER (check_name = 'completeness') AS completeness,
       min(measured) FILTER (check_name = 'completeness') AS least_completeness,
       max(measured) FILTER (check_name = 'gaps') / 1e6 AS largest_gap_ms,
       median(measured) FILTER (check_name = 'sync_error') / 1e6 AS sync_error_ms,
       max((evidence->>'p99_abs_delta_ns')::DOUBLE) FILTER (check_name = 'sync_error') / 1e6 AS sync_error_p99_ms,
       1e9 / median((evidence->>'median_period_ns')::DOUBLE) FILTER (check_name = 'completeness') AS rate_hz
FROM qc_measurement q JOIN drive v USING (drive_id)
WHERE q.drive_date = $day AND v.drive_date = $day AND channel IS NOT NULL
AND check_name IN ('completeness', 'gaps', 'sync_error') GROUP BY vehicle, channel ORDER BY vehicle, channel
"""

_WORST = """
SELECT scene_id, vehicle, drive_name, start_ns, kept, verdict, nbr_bad, nbr_warn, said FROM (
  SELECT q.scene_id, any_value(concat_ws('/', fleet, robot_id)) AS vehicle, any_value(drive_name) AS drive_name,
         any_value(s.start_ns) AS start_ns, any_value(s.scene_id) IS NOT NULL AS kept,
         count(*) FILTER (verdict IN ('quarantine', 'reject')) AS nbr_bad,
         count(*) FILTER (verdict = 'warn') AS nbr_warn,
         if(nbr_bad > 0, 'quarantine', 'warn') AS verdict,
         string_agg(DISTINCT reason, '; ' ORDER BY reason) FILTER (reason IS NOT NULL) AS said
  FROM qc_result q JOIN drive v USING (drive_id) LEFT JOIN scene s USING (scene_id)
  WHERE q.drive_date = $day AND v.drive_date = $day GROUP BY q.scene_id)
WHERE nbr_bad + nbr_warn > 0 ORDER BY nbr_bad DESC, nbr_warn DESC, scene_id
"""

_COST = """
SELECT stage, count(*) AS nbr_runs, sum(ended_at_ns - started_at_ns) / 3.6e12 AS hours FROM lineage_run
WHERE batch_id IN (
  SELECT DISTINCT r.batch_id FROM lineage_run r JOIN lineage_edge e USING (run_id) JOIN raw_object o
  ON e.dataset = o.uri JOIN drive v USING (drive_id) WHERE e.direction = 'input' AND v.drive_date = $day)
GROUP BY stage ORDER BY hours DESC
"""


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One day of a release.

    Attributes:
        vehicles: one row each (``volume``); a vehicle is named ``fleet/vehicle`` throughout, as fleets share names.
        checks, sensors, worst: by vehicle, in rows.
        cost: stages of the batches that built the day's drives, with hours.
        shifts: every distribution that could be compared with that of the days before.
    """

    day: date
    release_id: str
    vehicles: Sequence[Row]
    checks: Sequence[Row]
    sensors: Sequence[Row]
    worst: Sequence[Row]
    cost: Sequence[Row]
    shifts: Sequence[Shift]

    @property
    def size_bytes(self) -> int:
        return sum(row["size_bytes"] or 0 for row in self.vehicles)

    @property
    def job_hours(self) -> float:
        return float(sum(row["hours"] for row in self.cost))

    def of(self, rows: Sequence[Row], vehicle: str) -> list[Row]:
        return [row for row in rows if row["vehicle"] == vehicle]

    def shifts_of(self, vehicle: str | None) -> list[Shift]:
        """Of one vehicle, or of all for None."""
        return [shift for shift in self.shifts if vehicle in (None, shift.robot_id)]


def day_figures(sql: Sql, release_id: str, day: date, config: ReportConfig) -> DayFigures:
    """Asks for everything that the report shows.

    Args:
        day: UTC date of the drives (``drive.drive_date``).
    """
    first = day - timedelta(days=config.nbr_history_days)

    def rows(query: str, **parameters: object) -> list[Row]:
        found: pa.Table = sql.execute(query, parameters).to_arrow_table()
        listed: list[Row] = found.to_pylist()
        return listed

    return DayFigures(
        day, release_id, rows(_VOLUME, day=day), rows(_CHECKS, day=day), rows(_SENSORS, day=day),
        rows(_WORST, day=day), rows(_COST, day=day), shifts_of_day(sql, day, first),
    )  # fmt: skip
