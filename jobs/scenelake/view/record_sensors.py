"""What sensors saw, for a recording: under the ego, each in the frame of its sensor."""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rerun as rr

from scenelake.export.images import BATCH, CameraReader, Still, Unusable
from scenelake.export.nuscenes_sweeps import SweepReader
from scenelake.export.points import COMPENSATED, VELOCITY, Float32Array
from scenelake.geometry.poses import IDENTITY, transform
from scenelake.timebase.arrays import FloatArray
from scenelake.view.depth import DEPTH_COLUMNS, as_png, depth_m
from scenelake.view.opened import Channel
from scenelake.view.record_places import transform_columns
from scenelake.view.stream import EGO, Columns, Stream

SCANS = "/scans"
_MEDIA = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png"}
_RADII_M = {"lidar": 0.03, "radar": 0.25}
_HEIGHTS_M = (-2.5, 4.5)
_FASTEST_M_S = 10.0
_NBR_INTRINSICS = 9
Colours = npt.NDArray[np.uint8]


def log_cameras(stream: Stream) -> None:
    """Pictures as recorded where they are JPEG or PNG, as JPEG where they are not."""
    reader = CameraReader(stream.opened.source.reader)
    for channel in stream.opened.channels("camera", "camera_frame"):
        entity = f"{_place(stream, channel)}/image"
        _pinhole(stream, channel, entity)
        stills = reader.stills(channel.messages, stream.opened.around(channel.channel))
        stream.send_seen(entity, channel, stills, lambda still: len(still.data), _image_columns)


def _image_columns(stills: Sequence[Still]) -> Columns:
    columns: Columns = rr.EncodedImage.columns(
        blob=[still.data for still in stills], media_type=[_MEDIA[still.suffix] for still in stills]
    )
    return columns


def log_depth(stream: Stream) -> None:
    """Depth as 16-bit PNG in millimetres."""
    for channel in stream.opened.channels("depth", "depth_frame"):
        entity = f"{_place(stream, channel)}/depth"
        _pinhole(stream, channel, entity)
        stream.send_seen(entity, channel, _depth_pngs(stream, channel), len, _depth_columns)


def _depth_pngs(stream: Stream, channel: Channel) -> Iterator[bytes | Unusable]:
    for row in _payloads(stream, channel, DEPTH_COLUMNS):
        metres = depth_m(row)
        yield metres if isinstance(metres, Unusable) else as_png(metres)


def _depth_columns(images: Sequence[bytes]) -> Columns:
    # Without a scale the viewer takes integers as millimetres; its documents disagree on which way a scale goes.
    columns: Columns = rr.EncodedDepthImage.columns(blob=images, media_type=[_MEDIA["png"]] * len(images))
    return columns


def log_scans(stream: Stream) -> None:
    """Pictures of radars that record such."""
    for channel in stream.opened.channels("radar", "radar_sweep"):
        rows = list(_payloads(stream, channel, ("sample_data_id", "image_format")))
        at = np.flatnonzero([row["image_format"] in _MEDIA for row in rows])
        for start in range(0, len(at), BATCH):
            part = at[start : start + BATCH]
            images = stream.opened.source.reader.payloads(channel.messages.take(part), ["image"])["image"].to_pylist()
            stills = [
                Still(data, rows[i]["image_format"], 0, 0, True) for i, data in zip(part.tolist(), images, strict=True)
            ]
            stream.send_items(stream.entity(SCANS, channel), channel, part, stills, _image_columns)
            stream.summary.wrote("radar pictures", len(part))


def log_sweeps(stream: Stream) -> None:
    """Points of LiDARs, moved to their sweep's stamp where that is possible, and of radars."""
    opened = stream.opened
    reader = SweepReader(opened.source.reader, opened.trajectory, stream.summary, is_compensated=True)
    for modality, table in (("lidar", "lidar_sweep"), ("radar", "radar_sweep")):
        for channel in opened.channels(modality, table):
            entity = f"{_place(stream, channel)}/points"
            stream.log_static(entity, rr.Points3D.from_fields(radii=[_RADII_M[modality]]))
            sweeps = _coloured(stream, reader, channel)
            stream.send_seen(entity, channel, sweeps, lambda sweep: sweep[0].nbytes, _point_columns)


def _coloured(
    stream: Stream, reader: SweepReader, channel: Channel
) -> Iterator[tuple[Float32Array, Colours] | Unusable]:
    mounts = stream.opened.mounts(channel.messages)
    for points, mount in zip(reader.points(channel.modality, channel.messages, mounts), mounts, strict=True):
        if isinstance(points, Unusable):
            yield points
        elif channel.modality == "lidar":
            pose = IDENTITY if mount.ego_from_sensor is None else mount.ego_from_sensor
            height_m = transform(pose, points[:, :3].astype(np.float64))[:, 2]
            yield points[:, :3], _colours(height_m, *_HEIGHTS_M, cv2.COLORMAP_VIRIDIS)
        else:
            speed_m_s = np.where(np.isnan(points[:, COMPENSATED]), points[:, VELOCITY], points[:, COMPENSATED])
            yield points[:, :3], _colours(speed_m_s, -_FASTEST_M_S, _FASTEST_M_S, cv2.COLORMAP_COOL)


def _colours(values: npt.NDArray[Any], low: float, high: float, colour_map: int) -> Colours:
    """(n, 3) RGB."""
    levels = (255 * ((np.nan_to_num(values) - low) / (high - low)).clip(0.0, 1.0)).astype(np.uint8)
    if not len(levels):
        return np.empty((0, 3), np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(levels[:, None], colour_map)[:, 0, ::-1])


def _point_columns(sweeps: Sequence[tuple[Float32Array, Colours]]) -> Columns:
    columns: Columns = rr.Points3D.columns(
        positions=np.concatenate([points for points, _ in sweeps]),
        colors=np.concatenate([colours for _, colours in sweeps]),
    ).partition([len(points) for points, _ in sweeps])
    return columns


def _place(stream: Stream, channel: Channel) -> str:
    """Says where a sensor is, once, or at each message where it moves against the ego; returns its entity."""
    entity = stream.entity(EGO, channel)
    poses = [m.ego_from_sensor for m in stream.opened.mounts(channel.messages)]
    nbr_unknown = sum(pose is None for pose in poses)
    if nbr_unknown:
        stream.summary.remark(f"{channel.channel}: extrinsics are unknown: it is shown at the ego's origin")
    known: FloatArray = np.array([IDENTITY if pose is None else pose for pose in poses]).reshape(-1, 7)
    if len(known) and (known == known[0]).all():
        stream.recording.send_columns(entity, [], transform_columns(known[:1]))
    else:
        stream.send(entity, channel.stamps_ns, channel.frames, lambda at: transform_columns(known[at]))
    return entity


def _pinhole(stream: Stream, channel: Channel, entity: str) -> None:
    """Says how a camera projects, where that is known; Rerun has no lens distortion."""
    ids = set(channel.messages["calibrated_sensor_id"].to_pylist())
    rows = [stream.opened.drive.calibrations.get(name or "", {}) for name in sorted(ids, key=str)]
    row = next((r for r in rows if r.get("intrinsics") and len(r["intrinsics"]) == _NBR_INTRINSICS), None)
    if row is None or not np.isfinite(row["intrinsics"]).all():
        return
    size_px = (row["width_px"], row["height_px"]) if row["width_px"] and row["height_px"] else None
    matrix = np.reshape(row["intrinsics"], (3, 3))
    stream.log_static(
        entity, rr.Pinhole(image_from_camera=matrix, resolution=size_px, camera_xyz=rr.ViewCoordinates.RDF)
    )
    if row["distortion"] and np.any(row["distortion"]):
        stream.summary.remark(f"{channel.channel}: pictures are as recorded; in 3-D their distortion is not shown")


def _payloads(stream: Stream, channel: Channel, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(channel.messages), BATCH):
        part = channel.messages.slice(start, BATCH)
        yield from stream.opened.source.reader.payloads(part, columns).to_pylist()
