"""The bugs that this simulation is known to find; run by `python -m tests.simulation --mutants`.

A mutant that survives means that the simulation has gone blind: break the core before you trust
the test.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.simulation.federation import Report, run_schedule
from tests.simulation.flow_mutants import FLOWING
from tests.simulation.flows import FlowReport, run_flow
from tests.simulation.planting import Mutant, planted
from tests.simulation.stripes import StripeReport, run_stripes

_ENTITY: Final = "streams.state.entity:Entity"
_PARTITION: Final = "streams.state.partition:PartitionState"
_BASES: Final = "streams.state.bases:Bases"
_SNAPSHOT: Final = "streams.state.snapshot"
_REPLICATION: Final = "streams.replication"
_REPLICA: Final = "streams.agents.replica:Replica"
_FOLDING: Final = "streams.agents.folding:Folding"
_HOLDING: Final = "streams.agents.holding:Holding"
_OUTBOUND: Final = "transport.session.outbound:OutboundSession"
_INBOUND: Final = "transport.session.inbound:InboundSession"
_SCHEDULER: Final = "transport.amst.scheduler:SendScheduler"
_UNIT_FLOW: Final = "transport.amst.reassembly:_UnitFlow"
_OBJECTS: Final = "transport.amst.objects"
_APPENDING: Final = "streams.agents.appending:Appending"

# Bugs that the simulation found in the real code, planted again.
FOUND: Final = (
    Mutant(
        "a dropped unit keeps its credit",
        f"{_APPENDING}._acknowledge",
        "if group:",
        "if group and all(one.ranges for one in group):",
    ),
    Mutant(
        "a unit that cannot be decoded is passed over",
        f"{_APPENDING}.append_some",
        "self._refuse(self.waiting.popleft(), error)",
        "self.waiting.popleft()",
    ),
    Mutant(
        "chunks are written over in place",
        f"{_SNAPSHOT}:chunk_numbers",
        "free = (number for number in itertools.count() if number not in standing)",
        "free = itertools.count()",
    ),
    Mutant(
        "a manifest covers a dead letter under way",
        f"{_REPLICA}.snapshot_partition",
        "or self.letters.are_under_way(partition):",
        "or False:",
    ),
    Mutant(
        "a large record met again gets another letter",
        f"{_FOLDING}._fold_state",
        "if holding.state.reject(self.region, record.offset):",
        "if holding.state.reject(self.region, record.offset) or True:",
    ),
    Mutant(
        "a stray record met again gets another letter",
        f"{_FOLDING}._fold_replica",
        "if record.offset >= holding.positions[topics.REPLICA]:",
        "if record.offset >= 0:",
    ),
    Mutant(
        "goodbye right behind hello breaks the protocol",
        "transport.session.handshake:Greeting.feed",
        "elif first.type is not FrameType.HELLO:",
        "elif first.type is not FrameType.HELLO or self.rest:",
    ),
)

# Of the data streams; hunted in `tests.simulation.stripes`, where these are all that happens.
STRIPING: Final = (
    Mutant(  # found in the real code
        "a copy is sent when the frame was queued anew",
        f"{_SCHEDULER}._take_copy",
        "and len(piece.holders) <= piece.copies",
        "",
    ),
    Mutant(
        "what only a dead stream held is gone",
        f"{_SCHEDULER}.lose_stream",
        "if not piece.holders and not piece.is_queued:",
        "if piece.holders and not piece.is_queued:",
    ),
    Mutant(
        "every report is believed to name all frames",
        f"{_SCHEDULER}.on_report",
        "if held.covers(p.sequence, p.end)",
        "if held.covers(p.end, p.end)",
    ),
    Mutant(
        "what is reported while it waits is sent all the same",
        f"{_SCHEDULER}._pop",
        "queue[0].is_reported",
        "queue[0].is_reported is None",
    ),
    Mutant(
        "a stream is closed while it holds a frame",
        f"{_SCHEDULER}.may_close",
        "and not state.held",
        "",
    ),
    Mutant(
        "a stream that retires takes frames",
        f"{_SCHEDULER}.take",
        "state is None or state.is_retiring",
        "state is None",
    ),
    Mutant(
        "a stalled stream is never given up",
        f"{_SCHEDULER}.poll",
        "> stall_ns",
        "> stall_ns * 1_000",
    ),
    Mutant(
        "a frame that was delivered may come again",
        f"{_UNIT_FLOW}.land",
        "sequence < self.next or sequence in self._ahead",
        "sequence in self._ahead",
    ),
    Mutant(
        "a unit begins with what the last one was",
        f"{_UNIT_FLOW}._deliver",
        "self._parts.clear()",
        "pass",
    ),
    Mutant(
        "frames are delivered as they come",
        f"{_UNIT_FLOW}._deliver",
        "self._ahead.pop(self.next, None)",
        "self._ahead.pop(min(self._ahead, default=0), None)",
    ),
    Mutant(
        "a chunk from a buffer of its own is not copied",
        f"{_OBJECTS}:IncomingObject.land",
        "if not was_in_place:",
        "if was_in_place is None:",
    ),
    Mutant(
        "chunks that the peer holds are shipped again",
        f"{_OBJECTS}:OutgoingObject.pieces",
        "if not held.covers(start, end):",
        "if held is not None:",
    ),
    Mutant(
        "an object is never summed",
        "transport.session.objects:OutgoingObjects.sums_due",
        "if self._queue.is_flow_done(flow)",
        "if flow < 0",
    ),
)

MUTANTS: Final = (
    *FOUND,
    *STRIPING,
    *FLOWING,
    Mutant(
        "equal stamps: the later arrival wins",
        f"{_ENTITY}.put",
        "version <= self.version",
        "version.stamp < self.version.stamp",
    ),
    Mutant(
        "equal stamps: the earlier arrival wins",
        f"{_ENTITY}.put",
        "version <= self.version",
        "version.stamp <= self.version.stamp",
    ),
    Mutant(
        "fields: equal stamps, the later arrival wins",
        f"{_ENTITY}.set_field",
        "version < old.version",
        "version.stamp < old.version.stamp",
    ),
    Mutant("put keeps older fields", f"{_ENTITY}.put", "field.version < version", "field is None"),
    Mutant(
        "put drops newer fields, too", f"{_ENTITY}.put", "field.version < version", "field.version"
    ),
    Mutant(
        "a patch older than the document is applied",
        f"{_ENTITY}.set_field",
        "version < self.version:",
        "version is None:",
    ),
    Mutant(
        "delete forgets its tombstone",
        f"{_ENTITY}.put",
        "version, document, new_hash\n",
        "(None if document is None else version), document, new_hash\n",
    ),
    Mutant(
        "fields are laid in the order of their paths",
        f"{_ENTITY}.materialise",
        "(item[1].version, item[0])",
        "item[0]",
    ),
    Mutant(
        "fingerprint keeps the replaced document",
        f"{_ENTITY}.put",
        "added = new_hash - self.hash",
        "added = new_hash",
    ),
    Mutant(
        "fingerprint keeps the replaced field",
        f"{_ENTITY}.set_field",
        "return new_hash - (old.hash if old is not None else 0)",
        "return new_hash",
    ),
    Mutant(
        "duplicate check off by one",
        f"{_PARTITION}.fold",
        "offset < self.vector.get(origin, 0)",
        "offset < self.vector.get(origin, 0) - 1",
    ),
    Mutant(
        "duplicates are folded again",
        f"{_PARTITION}.fold",
        "Folded(offset < self.vector.get(origin, 0),",
        "Folded(False,",
    ),
    Mutant(
        "vector stays before a poison record",
        f"{_PARTITION}.fold",
        "folded.rejected.append(Rejected(-1, error))",
        "folded.rejected.append(Rejected(-1, error)); self.vector[origin] = offset",
    ),
    Mutant(
        "a bad change hides the rest of its batch",
        f"{_PARTITION}.fold",
        "continue",
        "break",
    ),
    Mutant(
        "drift is not checked",
        "schemas.changes:check_change",
        "ahead_ms > DRIFT_MS_MAX",
        "ahead_ms > 1_000_000",
    ),
    Mutant(
        "cursors without what is not folded yet",
        f"{_HOLDING}.cursor",
        "max(self.cursors.get(origin, 0), self.state.vector.get(origin, 0))",
        "self.state.vector.get(origin, 0)",
    ),
    Mutant(
        "a restore forgets what the consumer left out",
        "streams.agents.restoring:restore",
        "if not holding.is_behind(left_out):",
        "if True:",
    ),
    Mutant(
        "a fenced writer is never given up",
        f"{_REPLICA}._lose",
        "self.on_lost(holding.partition, error)",
        "pass",
    ),
    Mutant(
        "a failed writer is used again",
        f"{_REPLICA}._lose",
        "holding.is_lost = True",
        "return",
    ),
    Mutant(
        "a chained patch against another base is applied",
        f"{_PARTITION}._apply_chained",
        "held.stamp != base_version",
        "held.stamp < 0",
    ),
    Mutant(
        "chained patches build on anybody's document",
        f"{_PARTITION}._apply_chained",
        "key = (version.region, producer)",
        "key = (version.region, next((p for _, p in self.entities[change['entity_id']].bases), ''))"
        " if change['entity_id'] in self.entities and self.entities[change['entity_id']].bases"
        " else (version.region, producer)",
    ),
    Mutant(
        "a replayed patch asks for its document",
        f"{_PARTITION}._apply_chained",
        "<= held.place",
        "< (0, 0)",
    ),
    Mutant(
        "a deleted document is built on",
        f"{_PARTITION}._apply",
        'if change["operation"] != "patch":',
        'if change["operation"] == "put":',
    ),
    Mutant(
        "bases are never put off",
        f"{_BASES}.hold",
        "held[:-BASES_MAX]",
        "held[:0]",
    ),
    Mutant(
        "snapshots leave bases out",
        f"{_SNAPSHOT}:_entity_record",
        "list(_base_records(entity))",
        "[]",
    ),
    Mutant(
        "a range with a hole is accepted",
        f"{_REPLICATION}:replica_records",
        "or part.from_offset > cursor",
        "or part.from_offset < 0",
    ),
    Mutant(
        "records below the cursor are appended again",
        f"{_REPLICATION}:replica_records",
        "if record.offset >= cursor",
        "if record.offset >= 0",
    ),
    Mutant(
        "offsets are counted, not claimed",
        f"{_REPLICATION}:_record_range",
        'first + record["offset_delta"]',
        'first + part["records"].index(record)',
    ),
    Mutant(
        "the replica topic forgets the append time",
        f"{_REPLICATION}:replica_records",
        "record.record_time_ms,",
        "None,",
    ),
    Mutant(
        "manifest read after the buckets",
        f"{_HOLDING}._snapshot",
        "[NewRecord(MANIFEST_KEY, manifest)]",
        "[NewRecord(MANIFEST_KEY, encode_manifest("
        "state, self._region, self.positions[topics.REPLICA]))]",
    ),
    Mutant(
        "snapshots leave fields out",
        f"{_SNAPSHOT}:_entity_record",
        "list(_field_records(entity))",
        "[]",
    ),
    Mutant(
        "window not reset in a new epoch",
        f"{_OUTBOUND}.begin_epoch",
        "self._encoder.reset()",
        "pass",
    ),
    Mutant(
        "credit is never asked for",
        f"{_OUTBOUND}.has_credit",
        "self.raw_bytes < self._credit_bytes",
        "self.raw_bytes >= 0",
    ),
    Mutant(
        "acknowledgements grant nothing",
        f"{_INBOUND}.acknowledge",
        "self._credit_bytes += sum(unit.raw_bytes for unit in units)",
        "pass",
    ),
    Mutant(
        "heartbeats carry an old digest",
        "streams.node:Gossip.digest",
        "return self._store.digest().to_record()",
        "found = self._store.digest(); return type(found)("
        "{p: d._replace(fingerprint=0) for p, d in found.partitions.items()}).to_record()",
    ),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant; `killed_by` is empty when it survived."""

    mutant: Mutant
    killed_by: str
    seed: int
    seeds_needed: int


def hunt(mutant: Mutant, seeds: Iterable[int]) -> Verdict:
    """Run schedules with the bug until one finds it."""
    count = 0
    seed = -1
    with planted(mutant):
        for seed in seeds:
            count += 1
            report = _run(mutant, seed)
            if report.check:
                return Verdict(mutant, report.check, seed, count)
    return Verdict(mutant, "", seed, count)


def _run(mutant: Mutant, seed: int) -> Report | StripeReport | FlowReport:
    if mutant in FLOWING:
        return run_flow(seed)
    return run_stripes(seed) if mutant in STRIPING else run_schedule(seed)
