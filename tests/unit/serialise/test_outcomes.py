"""Figures per drop."""

from scenelake.contracts.stages import DecodedDrop
from scenelake.serialise.drives import drive_rows
from scenelake.serialise.outcomes import drop_outcomes, scene_counts

from .synthetic import FRAMES, DriveMaker


def test_every_drop_of_the_batch_has_figures(maker: DriveMaker) -> None:
    given = maker.drive(scenes=3, verdicts=("pass", "quarantine", "pass"), duplicate=True)
    rows = drive_rows(given, "s3://q")
    (drop_id,), (copy,) = given.plan.decoded, given.plan.duplicates
    sha = given.outcomes[drop_id].object_sha256
    drops = [
        DecodedDrop(drop_id, given.plan.drive_id, "s3://lake/work/a", "decoded", None, None, sha),
        DecodedDrop(copy, given.plan.drive_id, "s3://lake/work/b", "decoded", None, None, sha),
        DecodedDrop("bad", given.plan.drive_id, "s3://lake/work/c", "rejected", "empty", "bad.mcap: 0 bytes", None),
    ]
    found = drop_outcomes(drops, [given], [rows], "r00000004")
    assert list(found) == [drop_id, copy, "bad"]
    good = found[drop_id]
    assert (good["accepted"], good["quarantined"], good["scenes"], good["accepted_scenes"]) == (
        4 * FRAMES,
        2 * FRAMES,
        3,
        2,
    )
    assert good["decoded_uri"] == "s3://lake/work/a"
    assert found[copy]["duplicate"] == found[copy]["messages"] == good["messages"]
    assert found[copy]["duplicate_of"] == drop_id
    assert found["bad"]["messages"] == 0
    assert (found["bad"]["verdict"], found["bad"]["reason"], found["bad"]["release_id"]) == ("rejected", "empty", None)
    assert good["release_id"] == "r00000004"
    assert scene_counts([rows])["nbr_accepted_scenes"] == 2
