"""What the sensors of one robot usually look like: fitted from earlier drives, versioned, named in the recipe.

A statistic is what a check measured, under the check's name, or a number that it left in its evidence under
``statistics``, under ``<check>:<name of the number>``. Channel ``""`` is the scene as a whole.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.ids import canonical_json
from scenelake.timebase.arrays import FloatArray

MIN_SCENES = 30
"""Below it nothing is called usual: the outermost of 30 values estimate the 3rd and 97th percentile at best."""

NBR_QUANTILES = 33
"""Quantiles at k/32, which keep a distribution's form within 3 % of its scenes, whatever its unit."""

OBSERVATION_SCHEMA = pa.schema(
    [
        pa.field("robot_id", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("statistic", pa.string()),
        pa.field("value", pa.float64()),
    ]
)
"""One value of one statistic of one channel in one scene."""

BASELINE_SCHEMA = pa.schema(
    [
        pa.field("robot_id", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("statistic", pa.string()),
        pa.field("nbr_scenes", pa.int64()),
        pa.field("median", pa.float64()),
        pa.field("mad", pa.float64()),
        pa.field("p01", pa.float64()),
        pa.field("p99", pa.float64()),
        pa.field("quantiles", pa.list_(pa.field("element", pa.float64()))),
    ]
)

_KEYS = ["robot_id", "channel", "statistic"]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The usual values of one statistic of one channel over the drives that it was fitted to.

    Attributes:
        nbr_scenes: that the figures rest on.
        mad: median absolute deviation from the median, not scaled.
        quantiles: ``NBR_QUANTILES``, evenly spaced from the least value to the greatest; empty where not fitted.
    """

    nbr_scenes: int
    median: float
    mad: float
    p01: float
    p99: float
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Baselines:
    """Of one robot, by channel and statistic; empty for a robot that nothing is known of.

    Attributes:
        version: of the artefact; None for none.
    """

    version: str | None = None
    known: Mapping[tuple[str, str], Baseline] = field(default_factory=dict)

    def of(self, channel: str, statistic: str) -> Baseline | None:
        return self.known.get((channel, statistic))


def observations(measurements: pa.Table, drives: pa.Table, versions: Mapping[str, str] | None = None) -> pa.Table:
    """Every finite number that checks measured, by robot, channel and statistic (``OBSERVATION_SCHEMA``).

    Args:
        measurements: ``qc_measurement`` rows, for example of the scenes of a release, or of those of a week.
        drives: ``drive`` rows; measurements of a drive that is not among them are left out.
        versions: of the checks whose measurements count, by name; None counts all. Another version measures
            something else.
    """
    where = pc.index_in(measurements["drive_id"], value_set=drives["drive_id"].combine_chunks())
    known = pc.is_valid(where)
    if versions is not None:
        wanted = pa.array([f"{name} {version}" for name, version in versions.items()], pa.string())
        said = pc.binary_join_element_wise(measurements["check_name"], measurements["check_version"], " ")
        known = pc.and_(known, pc.is_in(said, value_set=wanted))
    rows = measurements.filter(known)
    robots = drives["robot_id"].take(pc.drop_null(where.filter(known)))
    made = pa.table(
        {
            "robot_id": robots,
            "channel": pc.fill_null(rows["channel"], ""),
            "statistic": rows["check_name"],
            "value": rows["measured"],
        }
    ).cast(OBSERVATION_SCHEMA)
    made = made.filter(pc.fill_null(pc.is_finite(made["value"]), False))
    return pa.concat_tables([made, _from_evidence(rows, robots)])


def _from_evidence(rows: pa.Table, robots: pa.ChunkedArray) -> pa.Table:
    has = pc.fill_null(pc.match_substring(rows["evidence"], '"statistics"'), False)
    told = zip(
        robots.filter(has).to_pylist(),
        pc.fill_null(rows["channel"].filter(has), "").to_pylist(),
        rows["check_name"].filter(has).to_pylist(),
        rows["evidence"].filter(has).to_pylist(),
        strict=True,
    )
    found = [
        {"robot_id": robot, "channel": channel, "statistic": f"{check}:{name}", "value": float(value)}
        for robot, channel, check, evidence in told
        for name, value in json.loads(evidence).get("statistics", {}).items()
        if isinstance(value, int | float) and np.isfinite(value)
    ]
    return pa.Table.from_pylist(found, schema=OBSERVATION_SCHEMA)


def groups_of(rows: pa.Table) -> Iterator[tuple[tuple[str, str, str], FloatArray]]:
    """Robot, channel and statistic of observations, in order, and their values in order: (n,)."""
    ordered = rows.sort_by([(name, "ascending") for name in (*_KEYS, "value")])
    # Minus zero is zero, so that the order of the rows cannot show in a sign.
    values = np.asarray(ordered["value"].to_numpy(), np.float64) + 0.0
    group = np.zeros(len(ordered), np.int64)
    for name in _KEYS:
        codes = ordered[name].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
        group += np.concatenate([[0], np.cumsum(np.diff(codes) != 0)]) if len(codes) else 0
    bounds = np.flatnonzero(np.diff(group, prepend=-1, append=-1))
    firsts = ordered.select(_KEYS).take(pa.array(bounds[:-1])).to_pylist() if len(ordered) else []
    for key, first, end in zip(firsts, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        yield (key["robot_id"], key["channel"], key["statistic"]), values[first:end]


def fit(rows: pa.Table, min_scenes: int = MIN_SCENES) -> pa.Table:
    """Baselines of every robot, channel and statistic of observations (``BASELINE_SCHEMA``), in order of the three.

    The order of the rows does not matter, and what has fewer than ``min_scenes`` of them has no baseline.
    """
    shares = np.arange(NBR_QUANTILES) / (NBR_QUANTILES - 1)
    made = []
    for (robot_id, channel, statistic), values in groups_of(rows):
        if len(values) < min_scenes:
            continue
        median = float(np.median(values))
        p01, p99 = np.quantile(values, [0.01, 0.99]).tolist()
        made.append(
            {
                "robot_id": robot_id,
                "channel": channel,
                "statistic": statistic,
                "nbr_scenes": len(values),
                "median": median,
                "mad": float(np.median(np.abs(values - median))),
                "p01": p01,
                "p99": p99,
                "quantiles": np.quantile(values, shares).tolist(),
            }
        )
    return pa.Table.from_pylist(made, schema=BASELINE_SCHEMA)


def version_of(baselines: pa.Table) -> str:
    """Content hash of a table of baselines, which names it in a recipe; files of other writers have the same."""
    return hashlib.sha256(canonical_json(baselines.to_pylist()).encode()).hexdigest()[:16]


def baselines_to_parquet(baselines: pa.Table) -> pa.Buffer:
    """A table of baselines as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(baselines.cast(BASELINE_SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def baselines_from_parquet(data: pa.Buffer, name: str) -> pa.Table:
    """The table again.

    Args:
        name: of the file, for the error.

    Raises:
        BadInputError: reason ``not_baselines``, when it is no Parquet file or lacks a column.
    """
    try:
        return pq.read_table(pa.BufferReader(data)).select(BASELINE_SCHEMA.names).cast(BASELINE_SCHEMA)
    except (pa.ArrowException, KeyError) as problem:
        raise BadInputError(
            f"{name}: expected a table of baselines with the columns {', '.join(BASELINE_SCHEMA.names)}, got {problem};"
            " fit them anew",
            reason="not_baselines",
        ) from problem


def baselines_of(baselines: pa.Table, robot_id: str) -> Baselines:
    """What is known of one robot.

    Args:
        robot_id: ``fleet/vehicle``, as fleets share names.
    """
    mine = baselines.filter(pc.equal(baselines["robot_id"], robot_id))
    known = {
        (row["channel"], row["statistic"]): Baseline(
            row["nbr_scenes"], row["median"], row["mad"], row["p01"], row["p99"], tuple(row["quantiles"])
        )
        for row in mine.to_pylist()
    }
    return Baselines(version_of(baselines), known)
