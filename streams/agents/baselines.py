"""Baselines of a node at work: made now and then, shipped, taken in, forgotten.

A record of `dwcp.baselines` (compacted, by name) is a `Baseline`. What we make stands
there against the one before; a peer gets it as a bulk object, whole or against what it has taken.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from connectors.log import Log, NewRecord
from schemas.errors import BadUnitError, EventError, LogError
from schemas.registry import Record, decode_event, encode_event
from streams import topics
from streams.agents.dictionaries import DictionaryDirectory
from streams.agents.outgoing import Outgoing
from streams.agents.records import records_until
from streams.agents.replica import Replica
from streams.baselines.anchors import Anchors, content_of, name_bytes
from streams.baselines.contents import baseline_of, newest_documents
from streams.baselines.directory import Directory, Held
from transport.amst.objects import OutgoingObject
from transport.hde.unit import NOTHING, Named
from transport.session.objects import ReceivedObject

log = structlog.get_logger(__name__)

EVICTED: Final = "evicted/"
WAITING_MAX: Final = 4  # objects for one peer; at the limit the next interval tries again


@dataclass(frozen=True, slots=True)
class BaselineSettings:
    """Limits.

    Attributes:
        baseline_bytes: Documents of one baseline; bounds what the start of a flow costs.
        memory_bytes: Of every region's baselines here.
        chain_max: Deltas after a whole baseline.
    """

    baseline_bytes: int = 2 << 20
    memory_bytes: int = 16 << 20
    chain_max: int = 10


class Baselines:
    """What one node makes and holds.

    Args:
        replica: The entity store, whose newest documents are taken.
        node: Our name.
        log_: The region's log.
        senders: Whose peers get what we make.
        settings: Limits.
        dictionaries: What the same topic holds besides.

    Attributes:
        directory: What is held.
    """

    def __init__(
        self,
        replica: Replica,
        node: str,
        log_: Log,
        senders: Sequence[Outgoing],
        settings: BaselineSettings,
        dictionaries: DictionaryDirectory | None = None,
    ) -> None:
        self._replica = replica
        self._log = log_
        self._senders = senders
        self._settings = settings
        self._dictionaries = dictionaries
        self.directory = Directory(settings.memory_bytes)
        region = replica.region
        self._anchors = Anchors(region, node, settings.chain_max)
        self._shipped: dict[int, dict[int, OutgoingObject]] = {}  # by sender, by name
        self._gone: set[tuple[str, int]] = set()  # peer and name
        self._making = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def load(self) -> dict[int, int]:
        """Hold what stands in the topic; returns where that ends."""
        starts = await self._log.start_offsets(topics.BASELINES)
        ends = await self._log.end_offsets(topics.BASELINES)
        async for _, record in records_until(self._log, topics.BASELINES, starts, ends):
            self.on_record(record.key or b"", record.value)
        return ends

    def on_record(self, key: bytes, value: bytes | None) -> None:
        """Learn what stands in the topic: of us, of other nodes of our region, of peers."""
        if value is None:
            self.directory.forget(int.from_bytes(key, "big"))
            return
        try:
            name, record = decode_event(value)
            if name == "Baseline":
                self._hold(record)
            elif name == "Dictionary" and self._dictionaries is not None:
                self._dictionaries.on_record(record)
        except (EventError, BadUnitError) as error:
            log.warning("baseline.unreadable", error=str(error))

    async def make(self) -> dict[str, Any]:
        """Make a baseline now, unless nothing changed since the last."""
        async with self._making:
            region, entities = self._replica.region, self._replica.store.entities()
            documents = newest_documents(region, entities, self._settings.baseline_bytes)
            content = await asyncio.to_thread(baseline_of, region, documents)
            if content and content != self._anchors.content:
                await self._publish(content, time.time_ns() // 1_000_000)
            name = self._anchors.newest
            return {"documents": len(documents), "baseline": f"{name:016x}" if name else None}

    def baseline(self, sender: Outgoing) -> bytes:
        """Return our newest one, if the peer has taken it; else nothing."""
        name = self._anchors.newest
        return (self.directory.find(name) or b"") if self._has_taken(sender, name) else b""

    def on_object(self, received: ReceivedObject) -> None:
        """Take in what a peer made, or learn what it had to forget."""
        if received.label.startswith(EVICTED):
            self._gone.add((received.region, int(received.label.removeprefix(EVICTED), 16)))
            return
        value = bytes(received.data)
        try:
            record = _own_baseline(value, received.region)
            self._hold(record)
        except (EventError, BadUnitError) as error:
            log.warning("baseline.refused", peer=received.region, error=str(error))
            return
        task = asyncio.ensure_future(self._append([NewRecord(record["name"], value)]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def to_json(self) -> dict[str, Any]:
        """Return what is held, and what peers had to forget."""
        gone = [{"peer": peer, "name": f"{name:016x}"} for peer, name in sorted(self._gone)]
        return {
            "held": self.directory.to_json(),
            "evicted_by_peers": gone,
            "dictionaries": self._dictionaries.to_json() if self._dictionaries else [],
        }

    async def _publish(self, content: bytes, now_ms: int) -> None:
        anchors, before = self._anchors, self._anchors.newest
        record, pruned = await asyncio.to_thread(anchors.next, content, now_ms)
        whole = record if not record["base"] else await asyncio.to_thread(anchors.whole, now_ms)
        self._hold(whole)
        gone = [NewRecord(name_bytes(name), None) for name in pruned]
        await self._append([NewRecord(record["name"], encode_event("Baseline", record)), *gone])
        for sender in self._senders:
            best = record if before and self._has_taken(sender, before) else whole
            self._ship(sender, anchors.newest, best)

    def _ship(self, sender: Outgoing, name: int, record: Record) -> None:
        if len(sender.objects) >= WAITING_MAX:
            return
        value = encode_event("Baseline", record)
        label = f"baseline/{name:016x}"
        one = OutgoingObject(bytes(8) + name_bytes(name), label, value)
        shipped = self._shipped.setdefault(id(sender), {})
        shipped[name] = one
        self._gone.discard((sender.status.peer, name))
        self._offer(sender, one)
        for old in list(shipped)[:-WAITING_MAX]:
            del shipped[old]

    def _offer(self, sender: Outgoing, one: OutgoingObject) -> None:
        sender.objects.append(one)
        sender.links.offer_objects()

    def _has_taken(self, sender: Outgoing, name: int) -> bool:
        one = self._shipped.get(id(sender), {}).get(name)
        is_gone = (sender.status.peer, name) in self._gone
        return one is not None and not is_gone and all(one is not other for other in sender.objects)

    def _hold(self, record: Record) -> None:
        base = NOTHING
        if record["base"]:
            base_name = int.from_bytes(record["base"], "big")
            found = self.directory.peek(base_name)
            if found is None:
                raise BadUnitError(f"baseline {record['base'].hex()} is not held here")
            base = Named(found, base_name)
        content = content_of(record, base)
        name = int.from_bytes(record["name"], "big")
        held = Held(record["region"], record["node"], record["created_ms"], content)
        for evicted in self.directory.hold(name, held):
            self._tell_evicted(record["region"], evicted)

    def _tell_evicted(self, region: str, name: int) -> None:
        for sender in self._senders:
            if sender.status.peer == region:
                label = f"{EVICTED}{name:016x}"
                self._offer(sender, OutgoingObject(name_bytes(1) + name_bytes(name), label, b"\0"))

    async def _append(self, records: list[NewRecord]) -> None:
        try:
            await self._log.append(topics.BASELINES, 0, records)
        except LogError as error:  # it is made anew at the next interval
            log.warning("baseline.not_kept", error=str(error))


def _own_baseline(value: bytes, region: str) -> Record:
    name, record = decode_event(value)
    if name != "Baseline" or record["region"] != region:
        raise BadUnitError(f"{name} from {region} is no baseline of its own")
    return record
