"""ROS 1 bags for tests, byte by byte."""

import bz2
import struct
from collections.abc import Iterable

import lz4.frame

MAGIC = b"#ROSBAG V2.0\n"
MESSAGE, BAG_HEADER, INDEX_DATA, CHUNK, CHUNK_INFO, CONNECTION = 2, 3, 4, 5, 6, 7
COMPRESS = {"none": bytes, "bz2": bz2.compress, "lz4": lambda data: lz4.frame.compress(data, content_checksum=True)}
"""ROS 1's own lz4 writer asks for checksums, too."""
Sent = tuple[int, int, bytes]
"""Connection, time in ns, data."""


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def stamp(time_ns: int) -> bytes:
    return struct.pack("<II", *divmod(time_ns, 10**9))


def fields(**values: bytes) -> bytes:
    return b"".join(u32(len(name) + 1 + len(value)) + name.encode() + b"=" + value for name, value in values.items())


def record(op: int, data: bytes = b"", **values: bytes) -> bytes:
    header = fields(op=bytes([op]), **values)
    return u32(len(header)) + header + u32(len(data)) + data


def connection(number: int, topic: str, type_name: str = "a_msgs/A", text: str = "uint8[] data") -> bytes:
    inner = fields(topic=topic.encode(), type=type_name.encode(), md5sum=b"*", message_definition=text.encode())
    return record(CONNECTION, inner, conn=u32(number), topic=topic.encode())


def message(number: int, time_ns: int, data: bytes) -> bytes:
    return record(MESSAGE, data, conn=u32(number), time=stamp(time_ns))


def chunk(body: bytes, compression: str = "none", claimed: int | None = None) -> bytes:
    size = u32(len(body) if claimed is None else claimed)
    return record(CHUNK, COMPRESS[compression](body), compression=compression.encode(), size=size)


def index_data(number: int, entries: Iterable[tuple[int, int]]) -> bytes:
    data = b"".join(stamp(time_ns) + u32(offset) for time_ns, offset in entries)
    return record(INDEX_DATA, data, ver=u32(1), conn=u32(number), count=u32(len(data) // 12))


def bag_header(index_pos: int = 0, nbr_connections: int = 0, nbr_chunks: int = 0, **more: bytes) -> bytes:
    values = {"index_pos": u64(index_pos), "conn_count": u32(nbr_connections), "chunk_count": u32(nbr_chunks), **more}
    length = len(record(BAG_HEADER, **values))
    return record(BAG_HEADER, b" " * (4096 + 8 - length), **values)


def bag(
    sent: list[list[Sent]], topics: list[str], compression: str = "none", *, has_index: bool = True
) -> tuple[bytes, list[int]]:
    """A bag of one chunk per list of messages; also where its records start."""
    out = MAGIC + bag_header()
    starts, infos = [len(MAGIC)], []
    for number, messages in enumerate(sent):
        body = b"".join(connection(i, topic) for i, topic in enumerate(topics)) if not number else b""
        entries: dict[int, list[tuple[int, int]]] = {}
        for conn, time_ns, data in messages:
            entries.setdefault(conn, []).append((time_ns, len(body)))
            body += message(conn, time_ns, data)
        infos.append((len(out), entries))
        for part in (chunk(body, compression), *(index_data(conn, e) for conn, e in entries.items())):
            starts.append(len(out))
            out += part
    if not has_index:
        return out, [*starts, len(out)]
    index_pos = len(out)
    parts = [connection(i, topic) for i, topic in enumerate(topics)]
    for at, entries in infos:
        counts = b"".join(u32(conn) + u32(len(e)) for conn, e in entries.items())
        times = [time_ns for e in entries.values() for time_ns, _ in e] or [0]
        span = {"start_time": stamp(min(times)), "end_time": stamp(max(times))}
        parts.append(record(CHUNK_INFO, counts, ver=u32(1), chunk_pos=u64(at), count=u32(len(entries)), **span))
    for part in parts:
        starts.append(len(out))
        out += part
    header = MAGIC + bag_header(index_pos, len(topics), len(sent))
    return header + out[len(header) :], [*starts, len(out)]
