"""Baselines say what a robot's statistics usually are, whatever the order of the rows they were fitted to."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.tables import GOLD
from scenelake.quality.baseline import (
    BASELINE_SCHEMA,
    MIN_SCENES,
    NBR_QUANTILES,
    OBSERVATION_SCHEMA,
    baselines_from_parquet,
    baselines_of,
    baselines_to_parquet,
    fit,
    observations,
    version_of,
)


def measurements(values, check="camera.black", drive="d1", channel="/cam", version="1", evidence="{}"):
    rows = [
        {"scene_id": f"{drive}-{k}", "drive_id": drive, "channel": channel, "check_name": check,
         "check_version": version, "measured": value, "evidence": evidence}
        for k, value in enumerate(values)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=GOLD["qc_measurement"].schema)


DRIVES = pa.Table.from_pylist(
    [{"drive_id": "d1", "robot_id": "anna"}, {"drive_id": "d2", "robot_id": "bert"}], schema=GOLD["drive"].schema
)


def test_a_baseline_holds_the_median_the_spread_and_the_tails():
    values = np.random.default_rng(1).normal(5.0, 2.0, 500)
    table = fit(observations(measurements(values), DRIVES))
    assert table.schema == BASELINE_SCHEMA
    known = baselines_of(table, "anna").of("/cam", "camera.black")
    assert known.nbr_scenes == 500
    assert known.median == np.median(values)
    assert known.mad == np.median(np.abs(values - np.median(values)))
    assert (known.p01, known.p99) == tuple(np.quantile(values, [0.01, 0.99]))
    assert len(known.quantiles) == NBR_QUANTILES
    assert (known.quantiles[0], known.quantiles[-1]) == (values.min(), values.max())
    assert baselines_of(table, "anna").of("/cam", "camera.blur") is None
    assert baselines_of(table, "bert").known == {}


def test_robots_channels_and_statistics_are_apart():
    parts = [
        measurements([1.0] * 40), measurements([2.0] * 40, drive="d2"), measurements([3.0] * 40, channel=None),
        measurements([4.0] * 40, check="camera.blur"), measurements([5.0] * 40, drive="gone"),
    ]  # fmt: skip
    table = fit(observations(pa.concat_tables(parts), DRIVES))
    found = [(r["robot_id"], r["channel"], r["statistic"], r["median"]) for r in table.to_pylist()]
    assert found == [
        ("anna", "", "camera.black", 3.0),
        ("anna", "/cam", "camera.black", 1.0),
        ("anna", "/cam", "camera.blur", 4.0),
        ("bert", "/cam", "camera.black", 2.0),
    ]


@pytest.mark.parametrize(("count", "is_known"), [(MIN_SCENES - 1, False), (MIN_SCENES, True)])
def test_few_scenes_make_no_baseline(count, is_known):
    assert len(fit(observations(measurements(range(count)), DRIVES))) == int(is_known)


def test_what_could_not_be_observed_does_not_count():
    values = [1.0] * 35 + [None, float("nan"), float("inf")] * 10
    (row,) = fit(observations(measurements(values), DRIVES)).to_pylist()
    assert (row["nbr_scenes"], row["p99"]) == (35, 1.0)


def test_another_version_of_a_check_measures_something_else():
    both = pa.concat_tables([measurements([1.0] * 40), measurements([9.0] * 40, version="2")])
    (row,) = fit(observations(both, DRIVES, {"camera.black": "2", "camera.blur": "1"})).to_pylist()
    assert (row["nbr_scenes"], row["median"]) == (40, 9.0)
    assert len(observations(both, DRIVES, {})) == 0


def test_statistics_in_the_evidence_have_baselines_of_their_own():
    evidence = json.dumps({"statistics": {"elbow low": -1.5, "elbow high": 1.25, "bad": None}, "joint": "elbow"})
    made = observations(measurements([None] * 40, check="robot.joint_range", evidence=evidence), DRIVES)
    known = baselines_of(fit(made), "anna")
    assert known.of("/cam", "robot.joint_range:elbow low").median == -1.5
    assert known.of("/cam", "robot.joint_range:elbow high").median == 1.25
    assert len(known.known) == 2


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["anna", "bert"]), st.sampled_from(["", "/cam"]), st.sampled_from(["a", "a:b"]),
        st.one_of(st.sampled_from([0.0, -0.0, 1.0]), st.floats(-1e9, 1e9)),
    ),
    max_size=60,
)  # fmt: skip


def observed(rows):
    names = OBSERVATION_SCHEMA.names
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=OBSERVATION_SCHEMA)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter_and_parquet_keeps_all(rows, random):
    table = fit(observed(rows), min_scenes=2)
    shuffled = list(rows)
    random.shuffle(shuffled)
    again = fit(observed(shuffled), min_scenes=2)
    assert again.to_pylist() == table.to_pylist()
    assert version_of(again) == version_of(table)
    data = baselines_to_parquet(table)
    assert data.equals(baselines_to_parquet(again))
    back = baselines_from_parquet(data, "baselines.parquet")
    assert back.equals(table)
    assert baselines_of(back, "anna") == baselines_of(table, "anna")


def test_a_version_names_the_content():
    one, two = (fit(observations(measurements([value] * 40), DRIVES)) for value in (1.0, 1.0000001))
    assert version_of(one) != version_of(two)
    assert baselines_of(one, "anna").version == version_of(one)


@pytest.mark.parametrize(
    "data", [b"no parquet", bytes(baselines_to_parquet(fit(observed([])))[:100])], ids=["text", "cut"]
)
def test_what_is_no_table_of_baselines_is_refused_by_name(data):
    with pytest.raises(BadInputError, match=r"old\.parquet: expected a table of baselines"):
        baselines_from_parquet(pa.py_buffer(data), "old.parquet")


def test_a_table_without_a_column_is_refused():
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(fit(observed([])).drop_columns(["mad"]), sink)
    with pytest.raises(BadInputError, match="mad"):
        baselines_from_parquet(sink.getvalue(), "old.parquet")
