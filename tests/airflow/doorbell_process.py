"""``python doorbell_process.py STORE``: does with the doorbell what Airflow's triggerer does, until it is killed.

Each event's payload becomes a line of the file STORE, which stands for Airflow's database, and is then confirmed.
"""

import asyncio
import json
import sys
from pathlib import Path

from airflow.triggers.shared_stream import SharedStreamManager

from scenelake_airflow.triggers.doorbell import DoorbellTrigger


async def watch(store: Path) -> None:
    """Stores and confirms every event of the doorbell."""
    trigger, manager = DoorbellTrigger(), SharedStreamManager()
    key = trigger.shared_stream_key()
    async for event in trigger.filter_shared_stream(manager.subscribe(trigger_id=1, trigger=trigger, key=key)):
        seq = manager.bind_pending_event(trigger_id=1, key=key)
        with store.open("a") as file:
            file.write(json.dumps(event.payload) + "\n")
        manager.confirm_persisted([seq])


if __name__ == "__main__":
    asyncio.run(watch(Path(sys.argv[1])))
