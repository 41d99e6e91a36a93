"""What a node knows of itself and hears from its peers."""

from schemas.registry import Record
from streams.node import Contradiction, Gossip, digest_json
from streams.state.partition import PartitionState
from streams.state.store import Digest, PartitionDigest, StateStore
from tests.support.events import APPENDED_MS, event, put


def store(document: str = "{}", records: int = 1) -> StateStore:
    made = StateStore("ams", 1)
    made.partitions[0] = PartitionState(0, 1)
    for offset in range(records):
        made.partitions[0].fold("ams", offset, APPENDED_MS, event(put("e", document)))
    return made


def heard(document: str = "{}", records: int = 1) -> Record:
    return Gossip(store(document, records)).digest()


def digest(*partitions: tuple[int, dict[str, int]]) -> Digest:
    return Digest({p: PartitionDigest(vector, 0, 0) for p, vector in partitions})


def test_a_digest_says_what_we_hold() -> None:
    held = store()

    assert Digest.from_record(Gossip(held).digest()) == held.digest()


def test_a_peer_that_holds_the_same_is_no_news() -> None:
    gossip = Gossip(store())

    assert gossip.hear("iad", heard()) == []
    assert gossip.contradictions == {}
    assert gossip.peers["iad"] == store().digest()


def test_a_peer_that_saw_the_same_and_holds_other_state_is_an_alarm() -> None:
    gossip = Gossip(store('{"a":1}'))
    ours, theirs = store('{"a":1}').digest().fingerprint, store('{"a":2}').digest().fingerprint

    found = [gossip.hear("iad", heard('{"a":2}')) for _ in range(2)]

    assert found == [[Contradiction("iad", 0, ours, theirs)]] * 2
    assert gossip.contradictions == {"iad": 2}


def test_a_peer_that_is_ahead_or_behind_proves_nothing() -> None:
    gossip = Gossip(store(records=2))

    assert gossip.hear("iad", heard(records=3)) == []
    assert gossip.hear("iad", heard(records=1)) == []


def test_partitions_that_only_one_side_holds_are_not_compared() -> None:
    gossip = Gossip(store())
    theirs = store('{"a":2}').digest().partitions[0]

    assert gossip.hear("iad", Digest({3: theirs}).to_record()) == []


def test_lag_is_what_some_peer_holds_and_we_lack() -> None:
    gossip = Gossip(store(records=2))
    gossip.hear("iad", digest((0, {"ams": 2, "iad": 7}), (1, {"iad": 3})).to_record())
    gossip.hear("sin", digest((0, {"iad": 9, "sin": 1})).to_record())

    assert gossip.lag() == {"ams": 0, "iad": 9, "sin": 1}  # of the one partition we hold


def test_only_the_last_digest_of_a_partition_counts() -> None:
    gossip = Gossip(store())
    gossip.hear("iad", digest((0, {"iad": 7})).to_record())
    gossip.hear("iad", digest((0, {"iad": 5})).to_record())
    gossip.hear("iad", digest((1, {"iad": 8})).to_record())  # another node of that region

    assert gossip.lag() == {"iad": 5}


def test_without_peers_there_is_no_lag() -> None:
    assert Gossip(store()).lag() == {}


def test_a_digest_is_shown_in_order_with_text_keys() -> None:
    zero = PartitionDigest({"iad": 5, "ams": 1}, 255, 3)
    shown = digest_json(Digest({0: zero, 1: PartitionDigest({"iad": 2}, 0, 0)}))

    assert shown == {
        "vector": {"ams": {"0": 1}, "iad": {"0": 5, "1": 2}},
        "fingerprint": "00000000000000ff",
        "entities": 3,
        "partitions": [0, 1],
    }
    assert list(shown["vector"]) == ["ams", "iad"]
    assert list(shown["vector"]["iad"]) == ["0", "1"]
