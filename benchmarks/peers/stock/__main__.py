"""The stock path: ``mcap``'s reader with CRCs, ``mcap-ros2-support``, SHA-256 of each message, ``pyarrow``."""

import hashlib
from collections.abc import Callable

from benchmarks.peers.measuring import Facts, Step, main
from benchmarks.peers.tables import Tables, hash_file, row_of
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory


def prepare(step: Step) -> Callable[[], Facts]:
    def run() -> Facts:
        nbr_messages = payload_bytes = 0
        hash_file(step.path)
        with step.path.open("rb") as file, Tables(step.folder) as tables:
            reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
            for schema, channel, message, decoded in reader.iter_decoded_messages(log_time_order=False):
                name = schema.name.rpartition("/")[2] if schema else ""
                index = {
                    "topic": channel.topic,
                    "sequence": message.sequence,
                    "log_time_ns": message.log_time,
                    "publish_time_ns": message.publish_time,
                    "sha256": hashlib.sha256(message.data).hexdigest(),
                }
                tables.add("index", index, 200)
                tables.add(name, row_of(name, channel.topic, decoded), len(message.data))
                nbr_messages += 1
                payload_bytes += len(message.data)
        for path in step.folder.glob("*.parquet"):
            hash_file(path)
        return {"messages": nbr_messages, "payload_bytes": payload_bytes}

    return run


if __name__ == "__main__":
    main(prepare)
