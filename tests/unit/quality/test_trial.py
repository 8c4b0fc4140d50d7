"""The trial of the checks in small: it catches what is planted, and fails where a check is switched off."""

from collections import Counter
from dataclasses import replace

import pytest
from benchmarks.quality.conditions import CONDITIONS
from benchmarks.quality.fault_kinds import ELSEWHERE, KINDS, OF_ROBOTS
from benchmarks.quality.report import document
from benchmarks.quality.rigs import FIT, HELD_OUT
from benchmarks.quality.schedule import SCENES_OF, DriveSpec, planned, specs
from benchmarks.quality.statistics import Share, strength_at
from benchmarks.quality.summary import failures, limits_of, of_clean, of_kind, summary, too_few
from benchmarks.quality.trial import known_from
from benchmarks.quality.worker import CleanScene, Recorded, Trial, recorded, said_of

from scenelake.quality import judge
from scenelake.quality.baseline import Baselines
from scenelake.quality.catalogue import CATALOGUE, MEASURES

_SEED = 7


@pytest.fixture(scope="module")
def drives() -> list[Recorded]:
    """Two drives and a robot's session, as they are and with every kind of fault at its strongest."""
    found: list[Recorded] = []
    for is_robot, names in ((False, ("winding", "lights")), (True, (None,))):
        kinds = [kind for kind in KINDS.values() if (kind.topic in OF_ROBOTS) == is_robot]
        tasks = planned(
            [DriveSpec(_SEED + i, i, name, 8 if is_robot else 6) for i, name in enumerate(names)],
            kinds,
            1,
            _SEED,
            is_strongest=True,
        )
        for task in tasks:
            of_drive = list(recorded(task, HELD_OUT, Baselines()))
            before = said_of(of_drive[:1]).measurements
            known = known_from(of_drive[0].robot_id, [before], 1)
            found += [replace(drive, facts=replace(drive.facts, baselines=known)) for drive in of_drive]
    return found


@pytest.fixture(scope="module")
def checks_of(drives) -> dict[str, set[str]]:
    """By function, the checks that it measures."""
    clean = [drive.facts for drive in drives if drive.run is None]
    return {function.__name__: {m.check.name for facts in clean for m in function(facts)} for function in MEASURES}


def test_every_kind_is_caught_at_its_strongest(drives):
    outcome = said_of(drives)
    missed = {(t.kind, t.condition, t.measured) for t in outcome.trials if not t.is_caught}
    assert not missed
    assert {t.kind for t in outcome.trials} == set(KINDS)


def test_good_scenes_are_let_pass(drives):
    clean = said_of(drives).clean
    assert len(clean) == 20
    assert not [scene for scene in clean if scene.verdict in ("quarantine", "reject")]


@pytest.mark.parametrize("off", MEASURES, ids=lambda function: function.__name__)
def test_the_trial_fails_without_a_measure(drives, checks_of, monkeypatch, off):
    checks = {name for name in checks_of[off.__name__] if not name.startswith(tuple(ELSEWHERE))}
    if not checks:
        pytest.skip("its checks are tried elsewhere, or nothing of the trial's cars and robots has what it looks at")
    monkeypatch.setattr(judge, "MEASURES", tuple(function for function in MEASURES if function is not off))
    for name in checks:
        kind = next(kind for kind in KINDS.values() if kind.check == name)
        drive = next(d for d in drives if d.run and any(p.kind == kind.name for p in d.run.placements))
        broken = summary([kind], said_of([drive]).trials, (), None)["failures"]
        assert any(said.startswith(f"{kind.name}: ") and name in said for said in broken)


@pytest.mark.parametrize("name", [n for n in CATALOGUE if not n.startswith(tuple(ELSEWHERE))])
def test_every_check_is_one_that_a_kind_must_be_caught_by(name):
    assert name in {kind.check for kind in KINDS.values()}


def test_a_check_that_no_kind_exercises_fails_the_trial():
    kinds = [{"kind": "k", "check": "gaps", "recall": Share(1, 1).to_json(), "declared": 1.0, "unit": "s"}]
    clean = {"held_back": Share(0, 100).to_json(), "warned": Share(0, 100).to_json()}
    limits = limits_of({name: CATALOGUE[name] for name in ("gaps", "epoch")})
    (said,) = failures(kinds, clean, limits, limits)
    assert said.startswith("epoch: no kind of fault exercises")


def test_missed_faults_false_alarms_and_changed_limits_fail_the_trial():
    kinds = [{"kind": "k", "check": "gaps", "recall": Share(97, 100).to_json(), "declared": 2.0, "unit": "s"}]
    clean = {"held_back": Share(2, 100).to_json(), "warned": Share(1, 100).to_json()}
    limits = limits_of({"gaps": CATALOGUE["gaps"]})
    assert failures(kinds, clean, limits, {"gaps": limits["gaps"] | {"limit": 1.0}}) == [
        "k: caught in 97 of 100 scenes from 2 s on by gaps, expected 98%",
        "2 of 100 good scenes are held back, expected 1%",
        "limits have changed since they were fitted, fit them anew: gaps",
    ]


def test_limits_that_another_trial_fits_may_change():
    kinds = [{"kind": "k", "check": "gaps", "recall": Share(99, 100).to_json(), "declared": 2.0, "unit": "s"}]
    clean = {"held_back": Share(0, 100).to_json(), "warned": Share(1, 100).to_json()}
    elsewhere = "calibration.imu_lag"
    limits = limits_of({name: CATALOGUE[name] for name in ("gaps", elsewhere)})
    assert failures(kinds, clean, limits, limits | {elsewhere: limits[elsewhere] | {"limit": 1.0}}) == []


def test_few_scenes_are_told():
    kinds = [
        {"kind": "k", "strengths": [1.0, 2.0], "unit": "s", "caught": [Share(9, 25).to_json(), Share(9, 24).to_json()]}
    ]
    assert too_few(kinds, {"warned": Share(0, 999).to_json()}) == [
        "k: 49 scenes, expected 50", "999 good scenes, expected 1000",
    ]  # fmt: skip


def test_the_page_names_what_was_missed():
    kind = KINDS["sensor missing"]
    trials = [Trial(kind.name, 0, "city", (1, 1), 0.0, False, ("gaps",), "warn")]
    clean = [CleanScene("a", "city", 1, 0, "warn", (("gaps", "/imu", 1.0),))]
    found = {"kinds": [of_kind(kind, trials)], "clean": of_clean(clean), "failures": ["missed"], "elsewhere": {}}
    lines = "\n".join(document(found | {"set": "s", "rigs": ["a"], "scale": 1.0, "wall_s": 60}, "quality"))
    assert "- missed" in lines
    row = "| `missing_sensor` | **1: 0%** | never | never | 0.0% [0.0%, 79.3%] | 1 (1) |"
    assert row in lines


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(50, 50, 0.92865, 1.0), (0, 1000, 0.0, 0.00383), (8, 10, 0.49016, 0.94331), (0, 0, 0.0, 1.0)],
)
def test_wilson_bounds(hits, trials, low, high):
    assert Share(hits, trials).bounds == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize(
    ("caught", "level", "at"),
    [((0, 20, 100), 0.6, 31.62), ((0, 0, 97), 0.98, None), ((99, 98, 100), 0.98, 1.0), ((100, 50, 99), 0.98, 95.4)],
)
def test_where_a_fault_starts_being_caught(caught, level, at):
    found = strength_at((1.0, 10.0, 100.0), [Share(hits, 100) for hits in caught], level)
    assert found == (None if at is None else pytest.approx(at, rel=1e-3))


def test_every_kind_is_planted_often_enough_and_apart_from_others():
    kinds = [kind for kind in KINDS.values() if kind.topic not in OF_ROBOTS]
    tasks = planned(specs(48, 4, 0), kinds, 6, _SEED)
    placed = Counter()
    for task in tasks:
        for run in task.runs:
            where = [(KINDS[p.kind].topic, p.scene) for p in run.placements]
            assert len(where) == len(set(where))
            for placement in run.placements:
                kind = KINDS[placement.kind]
                assert kind.fits(CONDITIONS[task.drive.condition])
                assert (placement.scene is None) == kind.is_whole
                assert placement.scene is None or placement.scene in SCENES_OF[kind.topic]
                placed[placement.kind, placement.grade] += 1 if placement.scene is not None else 2
    assert min(placed[kind.name, grade] for kind in kinds for grade in range(len(kind.strengths))) >= 6


def test_a_kind_that_no_drive_fits_is_told():
    with pytest.raises(ValueError, match="no drive fits gyro bias at rest"):
        planned([DriveSpec(1, 0, "city", 6)], [KINDS["gyro bias at rest"]], 1, _SEED)


def test_the_sets_share_neither_rigs_nor_noise():
    fit, held = ([*of.rigs, *of.humanoids] for of in (FIT, HELD_OUT))
    assert not {rig.name for rig in fit} & {rig.name for rig in held}
    assert not {replace(rig, name="") for rig in fit} & {replace(rig, name="") for rig in held}
    assert abs(FIT.first_seed - HELD_OUT.first_seed) > 200_000
