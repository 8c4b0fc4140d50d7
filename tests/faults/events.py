"""Faults of the events: doubled, shuffled, late, lost, poisonous, and of objects that change under them.

Every fault is put through S3's own notification, the event queue, the event runner's calls of the registering
function, the ledger, the doorbell and Airflow's triggerer; the drops are then built by Airflow.
"""

import hashlib
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.landing import Landing
from tests.faults.recordings import PARTS_PER_DRIVE, Part, drive_parts, part, part_start_ns
from tests.faults.stack import TRIGGERER, FaultedStack

from scenelake.contracts import ids
from scenelake.contracts.manifests import ManifestFile, manifest_bytes
from scenelake.contracts.paths import MANIFEST_NAME
from scenelake.stack.supervisor import EVENTS

OBJECTS = 210
COPIES = 5
"""Every event is sent this often, so each fault has its thousand events and more."""
_DOUBLED = 360
"""Of which each event comes three times on average."""
_DELETED = 123
"""Of which two thirds send an event of their deletion too."""
_VERSIONS = 5
_LOST_SHARE = 0.8
"""Of five copies all are lost for a third of the objects."""
_PIECES = 200


@dataclass
class Bench:
    """What a fault has to work with.

    Attributes:
        scale: share of the doses.
        fault: name of the fault.
        next_drive: number of the next drive of the whole run; drives never overlap in time.
    """

    stack: FaultedStack
    landing: Landing
    random: random.Random
    scale: float
    say: Callable[[str], None]
    fault: str = ""
    next_drive: int = 0
    owners: dict[str, str] = field(default_factory=dict)
    """``{drive id, or the first half of an object's SHA-256: fault}``, which is how gold names them."""

    @property
    def fleet(self) -> str:
        """The fault's name as a part of a key."""
        return re.sub(r"[^A-Za-z0-9]+", "-", self.fault).strip("-")

    def amount(self, full: int, least: int = 1) -> int:
        """A dose at this scale."""
        return max(least, round(full * self.scale))

    def new_drive(self, folder: str = "", *, nbr_parts: int = PARTS_PER_DRIVE) -> list[Part]:
        """The objects of a drive that nothing else has."""
        name = f"drive-{self.next_drive:05d}"
        prefix = f"{self.fleet}/vehicle/{name}/{folder}"
        parts = list(drive_parts(prefix, self.next_drive, self.random.randrange(1_000_000), nbr_parts=nbr_parts))
        self.owners[ids.drive_id(self.fleet, "vehicle", name)] = self.fault
        self.next_drive += 1
        return parts

    def shuffled(self, nbr_parts: int) -> list[Part]:
        """As many objects as asked for, of many drives, in an order that no vehicle would send them in."""
        parts: list[Part] = []
        while len(parts) < nbr_parts:
            parts += self.new_drive()
        self.random.shuffle(parts)
        return parts[:nbr_parts]

    def objects(self, nbr: int = OBJECTS) -> list[Part]:
        """The objects of an event fault, each of whose events S3 sends ``COPIES`` times from now on."""
        self.stack.wounds.aws({"events": {"copies": [COPIES, COPIES]}})
        return self.shuffled(self.amount(nbr, PARTS_PER_DRIVE))

    def put(self, parts: Sequence[Part]) -> int:
        for i, one in enumerate(parts):
            self.landing.put(one)
            self.owners[hashlib.sha256(one.body).hexdigest()[:32]] = self.fault
            if (i + 1) % 200 == 0:
                self.say(f"{i + 1} of {len(parts)} objects put")
        return len(parts)


@dataclass(frozen=True, slots=True)
class Did:
    """What a fault did, for its row of the table.

    Attributes:
        broken: what the fault itself saw go wrong.
        has_load: drops are put, so none is a failure to show anything.
    """

    dose: str
    wanted_events: int = 0
    nbr_kills: int = 0
    wanted_kills: int = 0
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    skipped: str | None = None
    has_load: bool = True


def doubled_and_shuffled(bench: Bench) -> Did:
    """Every event one to five times, each copy late by up to three seconds."""
    bench.stack.wounds.aws({"seed": bench.random.randrange(1000), "events": {"copies": [1, 5], "shuffle_seconds": 3.0}})
    bench.put(bench.shuffled(bench.amount(_DOUBLED, PARTS_PER_DRIVE)))
    time.sleep(4)
    counts = bench.stack.wounds.aws_counts().get("events", {})
    return Did(
        "×1–5, late by ≤ 3 s",
        bench.amount(1000),
        notes=(f"{counts.get('announced', 0)} events sent as {counts.get('sent')}",),
    )


def deleted_after_put(bench: Bench) -> Did:
    """A third stays, a third gets a delete marker (its version must be built), a third is erased at once."""
    parts = bench.objects(_DELETED)
    nbr_deletes = 0
    for i, one in enumerate(parts):
        bench.landing.put(one)
        if i % 3 == 1:
            bench.landing.mark_deleted(one.key)
        elif i % 3 == 2:
            bench.landing.erase(one.key)
        nbr_deletes += i % 3 != 0
    return Did("⅓ kept, ⅓ marked, ⅓ erased", (len(parts) + nbr_deletes) * COPIES)


def new_versions(bench: Bench) -> Did:
    """The same key five times: four contents of one length of time, and the first content once more."""
    nbr_keys = bench.amount(OBJECTS // _VERSIONS, 2)
    bench.stack.wounds.aws({"events": {"copies": [COPIES, COPIES]}})
    puts: list[Part] = []
    while len(puts) < nbr_keys * _VERSIONS:
        drive = bench.next_drive
        for i, one in enumerate(bench.new_drive(nbr_parts=_VERSIONS)):
            bodies = [part(seed, part_start_ns(drive, i)) for seed in range(_VERSIONS - 1)]
            puts += [Part(one.key, body) for body in (*bodies, bodies[0])]
    return Did(f"×{_VERSIONS} on each key", bench.put(puts) * COPIES)


def redelivered(bench: Bench) -> Did:
    """Event runner and triggerer stand still amid their work for longer than their messages stay hidden."""
    parts = bench.objects()
    nbr_holds = bench.amount(4, 2)
    # Longer than a message of either queue stays hidden.
    seconds = 1.3 * bench.stack.patience_seconds
    for i in range(nbr_holds):
        name = (EVENTS, TRIGGERER)[i % 2]
        bench.say(f"{name} stands still for {seconds:.1f} s")
        # What it has in hand, or asked for before, is delivered to another when its time is over; then both go on.
        with bench.stack.held(name, seconds):
            bench.put(parts[i::nbr_holds])
            if name == EVENTS:
                with bench.stack.another_event_runner(2 * seconds):
                    bench.say("another event runner takes what is given back")
        _take_and_drop(bench.landing, bench.landing.settings.event_queue_url, 30, visibility_seconds=1)
    # One more than were sent: without that, nothing was delivered twice and nothing was shown.
    return Did(f"{nbr_holds} stand-stills of {seconds:.1f} s", len(parts) * COPIES + 1)


def poisoned(bench: Bench) -> Did:
    """Messages that nobody can read among good ones: they must end in the dead-letter queue, the good ones not."""
    landing, queue = bench.landing, bench.landing.settings.event_queue_url
    poison = ["not JSON", "[]", "{}", '{"Records": [{"eventName": "ObjectCreated:Put"}]}', '"text"', "\u00e4" * 5000]
    nbr_before = landing.nbr_queued(landing.settings.event_dead_letter_queue_url)
    parts = bench.objects()
    nbr_poison = 0
    for i, one in enumerate(parts):
        if i % 20 == 0:
            landing.sqs.send_message(QueueUrl=queue, MessageBody=poison[nbr_poison % len(poison)])
            nbr_poison += 1
        landing.put(one)
    deadline = time.monotonic() + 180
    while (nbr_dead := landing.nbr_queued(landing.settings.event_dead_letter_queue_url) - nbr_before) < nbr_poison:
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    found = f"{nbr_dead} of {nbr_poison} unreadable messages are in the dead-letter queue"
    return Did(
        f"{nbr_poison} unreadable messages", len(parts) * COPIES, notes=(found,),
        broken=() if nbr_dead == nbr_poison else (found,),
    )  # fmt: skip


def lost(bench: Bench) -> Did:
    """Most events vanish from the queue; the reconciler must find the objects that none is left of."""
    landing = bench.landing
    parts = bench.objects()
    with bench.stack.held(EVENTS, 0):
        bench.put(parts)
        nbr_lost = _take_and_drop(
            landing, landing.settings.event_queue_url, round(len(parts) * COPIES * _LOST_SHARE), None
        )
    return Did(f"{nbr_lost} of {len(parts) * COPIES} events lost", len(parts) * COPIES - nbr_lost)


def in_pieces(bench: Bench) -> Did:
    """Recordings of many objects, with a manifest before or after them or none, their parts late and shuffled."""
    puts: list[Part] = []
    while len(puts) < bench.amount(_PIECES, 2 * PARTS_PER_DRIVE):
        parts = bench.new_drive("recording/")
        if bench.random.random() < 0.7:
            files = [ManifestFile(p.key.rsplit("/", 1)[-1], len(p.body)) for p in parts]
            parts.append(Part(f"{parts[0].key.rsplit('/', 1)[0]}/{MANIFEST_NAME}", manifest_bytes(files)))
        puts += parts
    # Shuffled within a window, so that a recording's last part comes long after its quiet time has passed.
    puts = [p for _, p in sorted(((i + bench.random.uniform(0, 40), p.key), p) for i, p in enumerate(puts))]
    return Did("manifest 70%, shuffled", bench.put(puts))


def _take_and_drop(landing: Landing, queue_url: str, nbr: int, visibility_seconds: int | None) -> int:
    """Receives messages and deletes them (None), or lets them come back. Returns how many there were."""
    nbr_taken = 0
    while nbr_taken < nbr:
        answer: dict[str, Any] = landing.sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=min(10, nbr - nbr_taken), VisibilityTimeout=visibility_seconds or 30
        )
        messages = answer.get("Messages", [])
        if not messages:
            break
        nbr_taken += len(messages)
        for message in messages if visibility_seconds is None else ():
            landing.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return nbr_taken


EVENT_FAULTS: dict[str, Callable[[Bench], Did]] = {
    "doubled": doubled_and_shuffled,
    "deleted": deleted_after_put,
    "versions": new_versions,
    "redelivered": redelivered,
    "poisoned": poisoned,
    "lost": lost,
    "pieces": in_pieces,
}


def new_bench(stack: FaultedStack, landing: Landing, seed: int, scale: float, say: Callable[[str], None]) -> Bench:
    return Bench(stack, landing, random.Random(seed), scale, say)
