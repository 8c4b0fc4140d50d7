"""Draws one held scene and keeps the pictures beside its evidence.

In a process of its own: it decodes what a recording brings, and takes memory that a web server should not.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.adapters.held_scene import HeldSceneReader
from scenelake.contracts.errors import BadInputError
from scenelake.review.desk import ReviewDesk
from scenelake.review.questions import picture_uri
from scenelake.review.signal_plots import signals_png
from scenelake.review.signals import panels
from scenelake.review.timeline import Track, marks_of, timeline_svg
from scenelake.runtime.command import run_command
from scenelake.runtime.settings import Settings
from scenelake.view.choose import open_source
from scenelake.view.opened import OpenedScene
from scenelake.view.pictures import pictured, strip
from scenelake.view.sheet import write_sheet

THUMB_PX = (352, 198)


def main(argv: Sequence[str] | None = None) -> int:
    """Answers ``{uris}``: of the contact sheet, the thumbnail, the timeline and the signals."""
    parser = argparse.ArgumentParser(prog="scenelake-review-picture", description="Draws one held scene.")
    parser.add_argument("--scene-id", required=True)
    return run_command("review_picture", parser, _draw, argv)


def _draw(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    desk = ReviewDesk.open(settings)
    scene, release = desk.scene(arguments.scene_id), desk.reader.release
    if release is None:
        raise BadInputError("the lake has no release any more", reason="not_found")
    document = desk.document(scene)
    reader = HeldSceneReader(desk.objects, document, release)
    source = open_source(reader)
    opened = OpenedScene(source, source.scenes[0])
    with tempfile.TemporaryDirectory(prefix="scenelake-review-") as folder:
        sheet = Path(folder) / "sheet.png"
        write_sheet(opened, sheet)
        made = {"sheet.png": sheet.read_bytes(), "thumb.jpg": thumbnail(opened, sheet)}
    start_ns, end_ns = opened.scene.start_ns, opened.scene.exclusive_end_ns
    made["timeline.svg"] = timeline_svg(list(tracks(reader, document, start_ns, end_ns)), start_ns, end_ns).encode()
    made["signals.png"] = signals_png(list(panels(document["checks"], reader.rows)), start_ns, end_ns)
    uris = {name: picture_uri(scene.evidence_uri, document, name) for name in made}
    for name, data in made.items():
        desk.objects.write(uris[name], data)
    return {"uris": uris}


def thumbnail(opened: OpenedScene, sheet: Path) -> bytes:
    """JPEG of the first camera in the middle of the scene; of the sheet where no camera shows anything."""
    cameras, middle = pictured(opened), np.array([len(opened.stamps_ns) // 2], np.int64)
    tiles = strip(opened, cameras[0], middle, THUMB_PX).tiles if cameras and len(opened.stamps_ns) else ()
    shown = next((np.ascontiguousarray(t.picture[:, :, ::-1]) for t in tiles if t.picture is not None), None)
    if shown is None:
        whole = np.asarray(cv2.imdecode(np.frombuffer(sheet.read_bytes(), np.uint8), cv2.IMREAD_COLOR), np.uint8)
        top = whole[: whole.shape[1] * THUMB_PX[1] // THUMB_PX[0]]
        shown = cv2.resize(top, (THUMB_PX[0], top.shape[0] * THUMB_PX[0] // top.shape[1]), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def tracks(reader: HeldSceneReader, document: dict[str, Any], start_ns: int, exclusive_end_ns: int) -> Iterator[Track]:
    """Each channel of the scene, by modality and name, with what findings and clock faults complain of in it."""
    marks: dict[str | None, list[tuple[int, int]]] = {}
    for row in document["checks"]:
        if row["verdict"] not in ("pass", "unknown"):
            marks.setdefault(row.get("channel"), []).extend(marks_of(row.get("evidence"), row.get("measured")))
    for fault in reader.rows("clock_fault").to_pylist():
        marks.setdefault(fault["channel"], []).append((fault["start_ns"], fault["exclusive_end_ns"]))
    messages = reader.rows("sample_data", columns=("channel", "modality", "timestamp_ns"))
    keys = messages.group_by(["modality", "channel"]).aggregate([])
    for key in keys.sort_by([("modality", "ascending"), ("channel", "ascending")]).to_pylist():
        mine = messages.filter(pc.equal(messages["channel"], pa.scalar(key["channel"])))
        stamps_ns = np.sort(np.asarray(mine["timestamp_ns"], np.int64))
        wanted = [(a, b) for a, b in marks.get(key["channel"], ()) if a < exclusive_end_ns and b > start_ns]
        yield Track(key["channel"], key["modality"], stamps_ns, tuple(wanted))


if __name__ == "__main__":
    raise SystemExit(main())
