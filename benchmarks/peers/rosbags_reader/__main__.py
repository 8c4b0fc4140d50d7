"""``rosbags``: its reader (which checks CRCs), its CDR deserialiser, SHA-256 of each message, ``pyarrow``."""

import hashlib
from collections.abc import Callable

from benchmarks.peers.measuring import Facts, Step, main
from benchmarks.peers.tables import Tables, hash_file, row_of
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore


def prepare(step: Step) -> Callable[[], Facts]:
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Reader(step.path) as reader:
        for connection in reader.connections:
            if connection.msgtype not in store.types:
                store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))

    def run() -> Facts:
        nbr_messages = payload_bytes = 0
        hash_file(step.path)
        with Reader(step.path) as reader, Tables(step.folder) as tables:
            for connection, log_time_ns, data in reader.messages():
                name = connection.msgtype.rpartition("/")[2]
                index = {
                    "topic": connection.topic,
                    "sequence": None,
                    "log_time_ns": log_time_ns,
                    "publish_time_ns": None,
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
                tables.add("index", index, 200)
                message = store.deserialize_cdr(data, connection.msgtype)
                tables.add(name, row_of(name, connection.topic, message), len(data))
                nbr_messages += 1
                payload_bytes += len(data)
        for path in step.folder.glob("*.parquet"):
            hash_file(path)
        return {"messages": nbr_messages, "payload_bytes": payload_bytes}

    return run


if __name__ == "__main__":
    main(prepare)
