"""A donkeycar tub against an independent reading of its catalogue."""

import json

import pytest

from scenelake.contracts.errors import BadInputError, ConfigurationError
from scenelake.convert import donkeycar


@pytest.fixture(scope="module")
def tub(real_data):
    return real_data("donkeycar_tub") / "tub"


@pytest.fixture(scope="module")
def converted(tub, tmp_path_factory):
    return donkeycar.convert(tub.parent, tmp_path_factory.mktemp("donkeycar") / "drop.mcap")


@pytest.fixture(scope="module")
def recorded(converted, read_recording):
    return read_recording(converted.out)


@pytest.fixture(scope="module")
def rows(tub):
    return [json.loads(line) for line in (tub / "catalog_0.catalog").read_text().splitlines()]


def test_every_row_is_an_image_an_action_and_a_mode_at_the_recorded_stamp(tub, rows, recorded):
    images, actions, modes = (recorded.on(t) for t in ("/camera/front/image", "/action/drive", "/drive/mode"))
    assert len(rows) == 1000
    for row, image, action, mode in zip(rows, images, actions, modes, strict=True):
        stamp_ns = row["_timestamp_ms"] * 10**6
        assert image.header_ns == image.log_time_ns == action.header_ns == action.log_time_ns == stamp_ns
        assert bytes(image.body.data) == (tub / "images" / row["cam/image_array"]).read_bytes()
        assert action.body["values"] == [row["user/angle"], row["user/throttle"]]
        assert action.body["names"] == ["steering", "throttle"]
        assert mode.body == {"timestamp_ns": stamp_ns, "mode": row["user/mode"]}


def test_conversion_times_are_flagged(converted, recorded):
    assert converted.end_ns - converted.start_ns == 3_330_000_000
    assert any("times of conversion" in remark and "1000 rows" in remark for remark in converted.remarks)
    assert any("._catalog_0.catalog" in remark for remark in converted.remarks)
    assert recorded.metadata["scenelake.drive"]["clock"] == "conversion time as recorded"


@pytest.fixture
def tree(tmp_path):
    """Four rows: one deleted, one without its image; and an image without a row."""
    tub = tmp_path / "tub"
    (tub / "images").mkdir(parents=True)
    rows = [
        {"_index": i, "_timestamp_ms": 1000 + 50 * i, "cam/image_array": f"{i}.jpg", "user/angle": 0.5,
         "user/throttle": 1, "user/mode": "user"}
        for i in range(4)
    ]  # fmt: skip
    (tub / "catalog_0.catalog").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tub / "catalog_0.catalog_manifest").write_text("{}")
    (tub / "manifest.json").write_text('[]\n{"paths": ["catalog_0.catalog"], "deleted_indexes": [1]}\n')
    for name in ("0", "1", "3", "9"):
        (tub / "images" / f"{name}.jpg").write_bytes(name.encode())
    return tub


def test_what_is_left_out_is_counted(tree, tmp_path, read_recording):
    report = donkeycar.convert(tree, tmp_path / "out.mcap")
    recorded = read_recording(report.out)
    assert [m.log_time_ns // 10**6 for m in recorded.on("/action/drive")] == [1000, 1100, 1150]
    assert [(m.log_time_ns // 10**6, bytes(m.body.data)) for m in recorded.on("/camera/front/image")] == [
        (1000, b"0"),
        (1150, b"3"),
    ]
    assert set(report.remarks) == {
        "1 rows are marked deleted in the manifest; not converted",
        "2 images belong to no row; not converted",
        "1 of 3 rows name an image that is absent; they make no image message",
    }
    again = donkeycar.convert(tmp_path, tmp_path / "again.mcap")
    assert again.out.read_bytes() == report.out.read_bytes()


def test_retiming_follows_the_index_without_drift_and_says_so(tree, tmp_path, read_recording):
    report = donkeycar.convert(tree, tmp_path / "out.mcap", retime_hz=30)
    recorded = read_recording(report.out)
    stamps = [m.log_time_ns for m in recorded.on("/action/drive")]
    assert stamps == [1_000_000_000, 1_066_666_667, 1_100_000_000]
    assert recorded.metadata["scenelake.drive"]["clock"] == "re-timed at 30 Hz"
    assert any("not as recorded" in remark for remark in report.remarks)


@pytest.mark.parametrize("rate", [0, -1.0, float("nan"), float("inf")])
def test_impossible_rates_are_refused(tree, tmp_path, rate):
    with pytest.raises(ConfigurationError, match="retime_hz"):
        donkeycar.convert(tree, tmp_path / "out.mcap", retime_hz=rate)


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"_index": 0, "_timestamp_ms": 1.5}'])
def test_malformed_row_names_file_and_line(tree, tmp_path, line):
    with (tree / "catalog_0.catalog").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(BadInputError, match=r"catalog_0\.catalog line 5: not a tub row"):
        donkeycar.convert(tree, tmp_path / "out.mcap")
    assert not (tmp_path / "out.mcap").exists()


def test_an_image_outside_the_tub_is_not_read(tree, tmp_path, read_recording):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    text = (tree / "catalog_0.catalog").read_text().replace('"0.jpg"', '"../../secret.jpg"')
    (tree / "catalog_0.catalog").write_text(text)
    recorded = read_recording(donkeycar.convert(tree, tmp_path / "out.mcap").out)
    assert [bytes(m.body.data) for m in recorded.on("/camera/front/image")] == [b"3"]


def test_manifest_without_catalogues_is_named(tree, tmp_path):
    (tree / "manifest.json").write_text("{}\n")
    with pytest.raises(BadInputError, match=r"manifest\.json: its last line"):
        donkeycar.convert(tree, tmp_path / "out.mcap")
