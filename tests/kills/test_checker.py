"""The checker finds what is planted, and nothing in a history that is good."""

import copy
from collections.abc import Callable

import pytest

from tests.kills.checker import KINDS, Verdict, judge
from tests.kills.history import Change, ReplicaRecord, Seen, StateRecord, Write
from tests.kills.model import canonical, expected_entities

A, B = "eu-west", "us-east"


def put(token: str, entity: str, stamp: int) -> Change:
    return Change(token, "put", entity, "vm", canonical({"token": token}), (), stamp)


def patch(token: str, entity: str, stamp: int) -> Change:
    return Change(token, "patch", entity, "vm", None, [("/token", False, token)], stamp)


def delete(token: str, entity: str, stamp: int) -> Change:
    return Change(token, "delete", entity, "vm", None, (), stamp)


def chained(token: str, entity: str, stamp: int, base: int) -> Change:
    fields = [("/token", False, token)]
    return Change(token, "chained", entity, "vm", None, fields, stamp, "node", base)


def base(token: str, entity: str, stamp: int) -> Change:
    return put(token, entity, stamp)._replace(producer="node", base_stamp=stamp)


def record(partition: int, offset: int, *changes: Change) -> StateRecord:
    return StateRecord(partition, offset, b"%d/%d" % (partition, offset), changes)


def told(token: str, region: str, place: tuple[int, int], index: int = 0) -> Write:
    return Write(token, region, "kafka", "put", token.upper(), "acknowledged", place, index)


def copies(origin: str, records: list[StateRecord], base: int = 0) -> list[ReplicaRecord]:
    return [
        ReplicaRecord(r.partition, base + n, r.digest, (origin, r.partition, r.offset))
        for n, r in enumerate(records)
    ]


def good() -> Seen:
    """Two regions, two partitions, gaps in the offsets, every operation, every outcome."""
    a = [
        record(0, 0, put("p1", "P1", 10)),
        record(0, 2, put("p2", "P2", 11), put("p3", "P3", 12)),
        record(1, 0, put("p4", "P4", 13)),
        record(0, 3, patch("q1", "P1", 20), delete("", "P2", 21)),
        record(1, 5, put("u1", "U1", 30)),
        record(1, 7, base("c1", "C1", 31), chained("c2", "C1", 32, 31), patch("c3", "C1", 33)),
        record(1, 8, chained("c4", "C1", 40, 32), base("c5", "C2", 41)),
        record(1, 9, chained("c6", "C2", 50, 7), base("c6", "C2", 50)),  # asked for
    ]
    b = [record(0, 0, put("p5", "P5", 10)), record(0, 1, put("p6", "P6", 9))]
    writes = [
        told("p1", A, (0, 0)),
        told("p2", A, (0, 2)),
        told("p3", A, (0, 2), 1),
        told("p4", A, (1, 0)),
        told("p5", B, (0, 0)),
        told("p6", B, (0, 1)),
        Write("q1", A, "http", "patch", "P1", "acknowledged", (0, 3), 0),
        Write("d1", A, "http", "delete", "P2", "acknowledged", (0, 3), 1),
        told("c1", A, (1, 7)),
        Write("c2", A, "http", "put", "C1", "acknowledged", (1, 7), 1),
        Write("c3", A, "http", "patch", "C1", "acknowledged", (1, 7), 2),
        Write("c4", A, "http", "put", "C1", "acknowledged", (1, 8), 0),
        Write("c5", A, "http", "put", "C2", "acknowledged", (1, 8), 1),
        Write("c6", A, "http", "put", "C2", "acknowledged", (1, 9), 0),
        Write("u1", A, "kafka", "put", "U1", "unknown"),
        Write("u2", A, "kafka", "put", "U2", "unknown"),
        Write("r1", B, "http", "put", "R1", "refused"),
    ]
    logs = {A: a, B: b}
    states = {A: expected_entities(logs), B: expected_entities(logs)}
    return Seen(writes, logs, {A: copies(B, b), B: copies(A, a)}, states)


def test_a_good_history_is_good() -> None:
    seen = good()

    assert judge(seen) == Verdict()
    assert judge(seen).is_good
    assert seen.states[A] == {
        "C1": ("vm", '{"token": "c4"}'),
        "C2": ("vm", '{"token": "c6"}'),
        "P1": ("vm", '{"token": "q1"}'),
        "P3": ("vm", '{"token": "p3"}'),
        "P4": ("vm", '{"token": "p4"}'),
        "P5": ("vm", '{"token": "p5"}'),
        "P6": ("vm", '{"token": "p6"}'),
        "U1": ("vm", '{"token": "u1"}'),
    }


def lose_acknowledged(seen: Seen) -> None:
    del seen.logs[B][1]
    del seen.replicas[A][1]
    seen.states = {r: expected_entities(seen.logs) for r in seen.states}


def lose_on_the_way(seen: Seen) -> None:
    del seen.replicas[B][1]


def lose_one_of_a_batch(seen: Seen) -> None:
    seen.logs[A][1] = record(0, 2, put("p2", "P2", 11))
    seen.states = {r: expected_entities(seen.logs) for r in seen.states}


def say_a_wrong_place(seen: Seen) -> None:
    seen.writes[0].place = (0, 2)


def lose_a_delete(seen: Seen) -> None:
    seen.logs[A][3] = record(0, 3, patch("q1", "P1", 20))
    seen.states = {r: expected_entities(seen.logs) for r in seen.states}


def copy_twice(seen: Seen) -> None:
    again = seen.replicas[B][1]
    seen.replicas[B].append(again._replace(offset=99))


def copy_twice_at_once(seen: Seen) -> None:
    again = seen.replicas[B][0]
    seen.replicas[B].insert(1, again._replace(offset=1))


def store_twice(seen: Seen) -> None:
    seen.logs[A].append(record(1, 11, put("u1", "U1", 30)))
    seen.replicas[B].append(ReplicaRecord(1, 10, b"1/11", (A, 1, 11)))


def store_a_put_twice(seen: Seen) -> None:
    seen.logs[A].append(record(1, 10, base("c5", "C2", 41)))
    seen.replicas[B].append(ReplicaRecord(1, 9, b"1/10", (A, 1, 10)))


def serve_a_patch_as_if_it_had_no_base(seen: Seen) -> None:
    seen.states[A] = {**seen.states[A], "C1": ("vm", '{"token": "c3"}')}


def chain_where_a_patch_was_meant(seen: Seen) -> None:
    seen.writes = [w for w in seen.writes if w.entity != "C1" or w.operation != "patch"]
    seen.writes.append(Write("c4", A, "http", "patch", "C1", "acknowledged", (1, 8), 0))
    seen.writes.append(Write("c3", A, "http", "patch", "C1", "acknowledged", (1, 7), 2))


def swap(seen: Seen) -> None:
    replica = seen.replicas[B]
    replica[0], replica[1] = replica[1], replica[0]


def change_content(seen: Seen) -> None:
    seen.replicas[A][0] = seen.replicas[A][0]._replace(digest=b"other")


def change_partition(seen: Seen) -> None:
    seen.replicas[A][1] = seen.replicas[A][1]._replace(partition=1)


def copy_from_nowhere(seen: Seen) -> None:
    seen.replicas[A].append(ReplicaRecord(0, 9, b"?", (B, 0, 9)))


def copy_our_own(seen: Seen) -> None:
    seen.replicas[A].append(ReplicaRecord(0, 9, b"0/0", (A, 0, 0)))


def store_refused(seen: Seen) -> None:
    seen.writes.append(Write("p5", B, "http", "put", "P5", "refused"))


def store_unwritten(seen: Seen) -> None:
    seen.writes = [write for write in seen.writes if write.entity != "U1"]


def serve_old(seen: Seen) -> None:
    seen.states[A] = {**seen.states[A], "P1": ("vm", '{"token": "p1"}')}


def serve_deleted(seen: Seen) -> None:
    seen.states[B] = {**seen.states[B], "P2": ("vm", '{"token": "p2"}')}


def serve_less(seen: Seen) -> None:
    seen.states[B] = {e: d for e, d in seen.states[B].items() if e != "P5"}


PLANTED: list[tuple[Callable[[Seen], None], dict[str, int]]] = [
    (lose_acknowledged, {"lost": 1}),
    (lose_on_the_way, {"lost": 1}),
    (lose_one_of_a_batch, {"lost": 1}),
    (say_a_wrong_place, {"lost": 1}),
    (lose_a_delete, {"lost": 1}),
    (copy_twice, {"duplicates": 1}),
    (copy_twice_at_once, {"duplicates": 1}),
    (store_twice, {"duplicates": 1}),
    (store_a_put_twice, {"duplicates": 1}),
    (serve_a_patch_as_if_it_had_no_base, {"unequal": 1}),
    (chain_where_a_patch_was_meant, {"lost": 1}),
    (swap, {"reordered": 1}),
    (change_content, {"altered": 1}),
    (change_partition, {"altered": 1}),
    (copy_from_nowhere, {"invented": 1}),
    (copy_our_own, {"invented": 1}),
    (store_refused, {"invented": 1}),
    (store_unwritten, {"invented": 1}),
    (serve_old, {"unequal": 1}),
    (serve_deleted, {"unequal": 1}),
    (serve_less, {"unequal": 1}),
]


@pytest.mark.parametrize(("plant", "found"), PLANTED, ids=[p.__name__ for p, _ in PLANTED])
def test_what_is_planted_is_found(plant: Callable[[Seen], None], found: dict[str, int]) -> None:
    seen = copy.deepcopy(good())
    plant(seen)
    verdict = judge(seen)

    assert {kind: n for kind in KINDS if (n := getattr(verdict, kind))} == found
    assert not verdict.is_good
    assert verdict.to_json()["examples"].keys() == found.keys()


def test_examples_are_few_and_counts_are_whole() -> None:
    verdict = Verdict()
    for number in range(100):
        verdict.note("lost", str(number))

    assert verdict.lost == 100
    assert verdict.examples == {"lost": ["0", "1", "2", "3", "4"]}
