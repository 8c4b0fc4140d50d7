"""The tables that tell of a drive's clocks: ``clock_fault`` (gold) and ``clock_segment`` (handed over)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date

import pyarrow as pa

from scenelake.contracts.modalities import Modality
from scenelake.contracts.stages import CLOCK_SEGMENT_SCHEMA, ClockFault
from scenelake.contracts.tables import GOLD
from scenelake.synchronise.clock_model import ClockModel
from scenelake.synchronise.clock_rules import rule_for
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.rows import table_of


def fault_table(drive_id: str, drive_date: date, faults: Sequence[ClockFault], config: SynchroniseConfig) -> pa.Table:
    """One row per fault, with the repairs that the channel's rule names."""
    rows = []
    for found in faults:
        policy = None
        if found.channel is not None and found.modality is not None:
            rule = rule_for(config.clock_rules, found.channel, Modality(found.modality))
            policy = rule.name if rule else None
        rows.append(asdict(found) | {"drive_id": drive_id, "drive_date": drive_date, "clock_policy": policy})
    return table_of(rows, GOLD["clock_fault"].schema)


def segment_table(drive_id: str, models: Mapping[str, ClockModel]) -> pa.Table:
    """One row per channel and stretch in which its clock ran evenly; none for clocks that cannot be seen."""
    rows = []
    for model in models.values():
        for segment in model.segments:
            start_ns, exclusive_end_ns = model.interval(segment.start, segment.end - 1)
            is_drift_known = segment.line.drift_error_ppm != float("inf")
            rows.append(
                {
                    "drive_id": drive_id,
                    "channel": model.channel,
                    "start_ns": start_ns,
                    "exclusive_end_ns": exclusive_end_ns,
                    "begins": str(segment.begins),
                    "nbr_messages": len(segment),
                    "log_minus_stamp_ns": int(segment.line.at(model.times_ns[segment.start : segment.start + 1])[0]),
                    "jump_ns": -segment.jump_ns,
                    "drift_ppm": segment.line.drift_ppm if is_drift_known else None,
                    "drift_error_ppm": segment.line.drift_error_ppm if is_drift_known else None,
                }
            )
    return table_of(rows, CLOCK_SEGMENT_SCHEMA)
