"""What a node knows of itself and hears from its peers."""

from schemas.registry import Record
from streams.node import Contradiction, Gossip, digest_json
from streams.state.store import Digest, StateStore
from tests.support.events import APPENDED_MS, event, put


def store(document: str = "{}", records: int = 1) -> StateStore:
    made = StateStore("ams", 1)
    for offset in range(records):
        made.partitions[0].fold("ams", offset, APPENDED_MS, event(put("e", document)))
    return made


def heard(document: str = "{}", records: int = 1) -> Record:
    return Gossip(store(document, records)).digest()


def test_a_digest_says_what_we_hold() -> None:
    held = store()

    assert Digest.from_record(Gossip(held).digest()) == held.digest()


def test_a_peer_that_holds_the_same_is_no_news() -> None:
    gossip = Gossip(store())

    assert gossip.hear("iad", heard()) is None
    assert gossip.contradictions == {}
    assert gossip.peers["iad"] == store().digest()


def test_a_peer_that_saw_the_same_and_holds_other_state_is_an_alarm() -> None:
    gossip = Gossip(store('{"a":1}'))
    ours, theirs = store('{"a":1}').digest().fingerprint, store('{"a":2}').digest().fingerprint

    found = [gossip.hear("iad", heard('{"a":2}')) for _ in range(2)]

    assert found == [Contradiction("iad", ours, theirs)] * 2
    assert gossip.contradictions == {"iad": 2}


def test_a_peer_that_is_ahead_or_behind_proves_nothing() -> None:
    gossip = Gossip(store(records=2))

    assert gossip.hear("iad", heard(records=3)) is None
    assert gossip.hear("iad", heard(records=1)) is None


def test_lag_is_what_some_peer_holds_and_we_lack() -> None:
    gossip = Gossip(store(records=2))
    gossip.hear("iad", Digest({"ams": {0: 2}, "iad": {0: 7, 1: 3}}, 0, 0).to_record())
    gossip.hear("sin", Digest({"iad": {0: 9}, "sin": {0: 1}}, 0, 0).to_record())

    assert gossip.lag() == {"ams": 0, "iad": 12, "sin": 1}


def test_only_the_last_digest_of_a_peer_counts() -> None:
    gossip = Gossip(store())
    gossip.hear("iad", Digest({"iad": {0: 7}}, 0, 0).to_record())
    gossip.hear("iad", Digest({"iad": {0: 5}}, 0, 0).to_record())

    assert gossip.lag() == {"iad": 5}


def test_without_peers_there_is_no_lag() -> None:
    assert Gossip(store()).lag() == {}


def test_a_digest_is_shown_in_order_with_text_keys() -> None:
    shown = digest_json(Digest({"iad": {1: 2, 0: 5}, "ams": {0: 1}}, 255, 3))

    assert shown == {
        "vector": {"ams": {"0": 1}, "iad": {"0": 5, "1": 2}},
        "fingerprint": "00000000000000ff",
        "entities": 3,
    }
    assert list(shown["vector"]) == ["ams", "iad"]
    assert list(shown["vector"]["iad"]) == ["0", "1"]
