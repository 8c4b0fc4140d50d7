"""Every conformance file of the format's own suite, message for message against its expected records."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scenelake.decode.config import MIB
from scenelake.decode.formats.mcap_reader import McapReader
from scenelake.decode.formats.sources import FileSource


def _expected(document: Path) -> list[tuple[str, dict[str, Any]]]:
    return [(r["type"], dict(r["fields"])) for r in json.loads(document.read_text())["records"]]


def test_reads_every_conformance_file(real_data: Callable[[str], Path]) -> None:
    files = sorted(real_data("mcap_conformance").rglob("*.mcap"))
    assert len(files) == 262
    nbr_messages = 0
    for path in files:
        expected = _expected(path.with_suffix(".json"))
        with FileSource(path) as source:
            reader = McapReader(source, max_chunk_bytes=MIB, max_record_bytes=MIB)
            got = list(reader.messages())
        assert reader.findings.problems == [], path.name
        wanted = [fields for kind, fields in expected if kind == "Message"]
        assert [
            {
                "channel_id": str(m.channel.channel_id),
                "data": [str(b) for b in m.data],
                "log_time": str(m.log_time_ns),
                "publish_time": str(m.publish_time_ns),
                "sequence": str(m.sequence),
            }
            for m in got
        ] == wanted, path.name
        for message in got:
            channel = next(f for kind, f in expected if kind == "Channel")
            assert message.channel.topic == channel["topic"]
            assert message.channel.metadata == channel["metadata"]
            assert (message.schema.name if message.schema else None) == next(
                (f["name"] for kind, f in expected if kind == "Schema"), None
            )
        assert reader.findings.metadata == {f["name"]: f["metadata"] for kind, f in expected if kind == "Metadata"}
        assert reader.findings.recorded == next(
            (
                {int(k): int(v) for k, v in f["channel_message_counts"].items()}
                for kind, f in expected
                if kind == "Statistics"
            ),
            None,
        )
        nbr_messages += len(got)
    assert nbr_messages > 100
