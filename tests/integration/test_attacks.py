"""Nobody who was not let in reads or writes anything, and others are served meanwhile.

Each attack ends with a named error here and, where the attacker could be a peer that was set up
wrongly, with a named error there; all the while an honest peer's link stands and its records
arrive.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from streams import topics
from streams.agents.receiver import Receiver
from tests.support.attacks import Tap, drip, said_by, silent, trusting
from tests.support.certs import CLUSTER, Certificates, expire
from tests.support.links import SETTINGS, Link, Region, assert_same, has_all, shipping
from tests.support.waiting import until
from transport.aio.connection import dial
from transport.aio.door import CONNECTIONS_MAX, HALF_OPEN_MAX
from transport.aio.tls import LinkTls
from transport.frame import Frame, FrameType, encode_frame
from transport.session.outbound import OutboundSession

WAIT_S = 20
PATIENT = replace(SETTINGS, silence_ms=3_000)  # an honest peer waits for its turn under attack


class Door:
    """A listening region, and an honest peer whose link to it stands."""

    def __init__(self, iad: Region, ams: Region, receiver: Receiver, link: Link) -> None:
        self.iad, self.ams, self.receiver, self.link = iad, ams, receiver, link

    @property
    def address(self) -> str:
        return self.iad.address

    def count(self) -> int:
        return self.receiver._door.open_count

    async def is_unharmed(self) -> None:
        """Check that the honest peer noticed nothing, and nobody else wrote."""
        await self.ams.produce(10)
        await until(has_all(self.iad, self.ams), WAIT_S, "the honest peer's records")
        assert_same(self.iad, self.ams)
        assert (self.link.status.state, self.link.status.sessions) == ("up", 1)
        assert set(self.receiver.status) == {("ams", "ams-1")}

    async def has_refused(self, *reasons: str) -> None:
        """Wait until exactly these reasons have been given."""
        await until(lambda: set(self.receiver.refused) == set(reasons), WAIT_S, f"{reasons}")
        await self.is_unharmed()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def region(name: str, tls: LinkTls | None) -> Region:
    made = Region(name)
    made.tls = tls
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def door(certificates: Certificates) -> AsyncIterator[Door]:
    iad, ams = (region(name, certificates.tls(name)) for name in ("iad", "ams"))
    async with iad.listening(PATIENT) as receiver:
        async with shipping(ams, "iad", iad.address, settings=PATIENT) as link:
            await until(lambda: link.status.state == "up", WAIT_S, "the honest link")
            yield Door(iad, ams, receiver, link)
        await until(lambda: receiver._door.open_count == 0, WAIT_S, "the end of all connections")


async def error_of(source: Region, address: str, target: str = "iad") -> str:
    """Return what a sender says of its link."""
    async with shipping(source, target, address) as link:
        await until(lambda: link.status.state == "refused", WAIT_S, "the refusal")
        assert link.status.sessions == 0
        return link.status.error


async def test_a_certificate_of_an_authority_that_we_do_not_trust(
    door: Door, certificates: Certificates
) -> None:
    fra = region("fra", certificates.tls("fra", certificates.stranger()))

    assert (await error_of(fra, door.address)).startswith("UntrustedCertificate: ")
    await door.has_refused("UntrustedCertificate")


async def test_an_expired_certificate(
    door: Door, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire(monkeypatch)
    fra = region("fra", certificates.tls("fra"))

    assert (await error_of(fra, door.address)).startswith("CertificateExpired: ")
    await door.has_refused("CertificateExpired")


async def test_a_good_certificate_of_another_region_than_the_caller_says(
    door: Door, certificates: Certificates
) -> None:
    """It wants to write as ams, whose records stand in our topic already."""
    thief = region("ams", certificates.tls("fra"))
    await thief.produce(50)

    assert (await error_of(thief, door.address)).startswith("PeerRefused: certificate: ")
    await door.has_refused("PeerRefused")


async def test_a_good_certificate_of_another_node_than_the_caller_says(
    door: Door, certificates: Certificates
) -> None:
    path = certificates.authority.issue("fra", "fra-2").path
    files = replace(certificates.files("fra"), cert=path, key=path.with_suffix(".key"))
    fra = region("fra", LinkTls(files, CLUSTER, "fra"))  # it calls itself fra-1

    assert (await error_of(fra, door.address)).startswith("PeerRefused: certificate: ")
    await door.has_refused("PeerRefused")


async def test_a_good_certificate_of_another_federation_under_an_authority_that_we_trust(
    door: Door, certificates: Certificates
) -> None:
    other = certificates.stranger("other", cluster="other")
    ca = certificates.authority.ca_path
    ca.write_bytes(ca.read_bytes() + other.ca_path.read_bytes())
    fra = region("fra", LinkTls(certificates.files("fra", other), "other", "fra"))

    # Both refuse: the dialler hangs up first.
    assert (await error_of(fra, door.address)).startswith("WrongIdentity: ")
    assert await said_by(door.address, b"", trusting(certificates.files("fra", other))) == b""
    await door.has_refused("WrongIdentity")


async def test_no_certificate(door: Door, certificates: Certificates) -> None:
    context = trusting(certificates.files("fra"), shows_certificate=False)

    assert await said_by(door.address, hello(Region("fra")), context) == b""
    await door.has_refused("NoCertificate")


async def test_a_plain_caller_at_an_encrypted_door(door: Door) -> None:
    assert (await error_of(Region("fra"), door.address)).startswith("UnexpectedTls: ")
    await door.has_refused("NotTls")


async def test_an_encrypted_caller_at_a_plain_door(certificates: Certificates) -> None:
    iad, fra = Region("iad"), region("fra", certificates.tls("fra"))
    async with iad.listening() as receiver:
        assert (await error_of(fra, iad.address)).startswith("NotTls: ")
        await until(lambda: receiver.refused == {"UnexpectedTls": 1}, WAIT_S, "the refusal")


LISTENERS: dict[str, tuple[Callable[[Certificates], LinkTls], str]] = {
    "another region": (lambda c: c.tls("fra"), "WrongIdentity"),
    "a stranger": (lambda c: c.tls("iad", c.stranger()), "UntrustedCertificate"),
}


@pytest.mark.parametrize("case", LISTENERS)
async def test_whoever_answers_at_a_peer_s_address_has_to_be_that_peer(
    case: str, certificates: Certificates
) -> None:
    """Its name is hijacked, or its address was given to another: it gets not one byte of ours."""
    make, reason = LISTENERS[case]
    impostor, ams = region("iad", make(certificates)), region("ams", certificates.tls("ams"))
    await ams.produce(10)
    async with impostor.listening() as receiver:
        assert (await error_of(ams, impostor.address)).startswith(f"{reason}: ")

        assert receiver.status == {}
    assert impostor.count(topics.REPLICA) == 0


async def test_a_peer_whose_certificate_has_expired_gets_nothing_either(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    ams = region("ams", certificates.tls("ams"))
    with monkeypatch.context() as patch:
        expire(patch)
        iad = region("iad", certificates.tls("iad"))
    async with iad.listening():
        assert (await error_of(ams, iad.address)).startswith("CertificateExpired: ")


async def test_replayed_bytes_of_a_whole_session_open_nothing(door: Door) -> None:
    """TLS' own protection: without the keys nobody can finish a handshake that was heard."""
    tap = Tap(door.address)
    await door.link.cut()
    async with tap.listening() as address, shipping(door.ams, "iad", address) as heard:
        await door.ams.produce(20)
        await until(has_all(door.iad, door.ams), WAIT_S, "the session that is heard")
        assert heard.status.sessions == 1
    async with shipping(door.ams, "iad", door.address, settings=PATIENT) as door.link:
        await until(lambda: door.link.status.state == "up", WAIT_S, "the honest link")
        assert len(tap.said) == 2
        for said in tap.said:
            assert len(said) > 500
            answer = await said_by(door.address, bytes(said))
            assert len(answer) < 5_000  # our half of a handshake, and an alert

        await until(lambda: len(door.receiver.refused) > 0, WAIT_S, "the refusals")
        assert sum(door.receiver.refused.values()) == 2
        assert set(door.receiver.refused) <= {"Tls", "UntrustedCertificate"}
        await door.is_unharmed()


async def test_a_replayed_hello_is_worth_what_its_sender_s_certificate_is(
    door: Door, certificates: Certificates
) -> None:
    """Fra has read it somewhere and says it, letter by letter, under its own certificate."""
    context = trusting(certificates.files("fra"))
    answer = await said_by(door.address, hello(door.ams), context)

    assert b"certificate" in answer
    await door.has_refused("PeerRefused")


async def test_a_stolen_token_does_not_let_another_region_write(
    door: Door, certificates: Certificates
) -> None:
    """The token travels encrypted; even so a data connection must be of the session's region."""
    bea = region("bea", certificates.tls("bea"))
    wire = await dial(door.address, WAIT_S, bea.tls, "iad")
    session = OutboundSession(bea.identity, "iad", PATIENT, time.monotonic_ns())
    wire.write(session.control_to_send())
    while not session.is_established:
        session.receive_control(await wire.read(), time.monotonic_ns(), 0)
    attach = session.attach(1)
    assert await said_by(door.address, attach, trusting(certificates.files("fra"))) == b""
    await until(lambda: door.receiver.refused == {"WrongIdentity": 1}, WAIT_S, "the refusal")
    wire.close()
    assert door.iad.count(topics.REPLICA) == door.ams.count(topics.STATE)


async def test_a_thousand_connections_that_say_nothing(door: Door) -> None:
    """They come from one address; the honest peer comes in from the same one, and another."""
    async with silent(door.address, 1_000):
        assert door.count() <= HALF_OPEN_MAX + CONNECTIONS_MAX
        await door.link.cut()
        async with shipping(door.ams, "iad", door.address, settings=PATIENT) as door.link:
            await until(lambda: door.link.status.state == "up", WAIT_S, "the honest link")
            await door.is_unharmed()
            assert door.receiver._door.half_open_count <= HALF_OPEN_MAX
        await until(lambda: door.receiver._door.half_open_count == 0, WAIT_S, "silence's end")
    assert set(door.receiver.refused) == {"CrowdedOut", "PeerSilent"}
    assert sum(door.receiver.refused.values()) == 1_000


async def test_silent_connections_of_one_address_push_out_nobody_of_another(door: Door) -> None:
    host, _, port = door.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=("127.0.0.3", 0))
    async with silent(door.address, 200, source="127.0.0.2"):
        assert door.receiver.refused["CrowdedOut"] >= 200 - HALF_OPEN_MAX
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.2)
    writer.transport.abort()


async def test_a_handshake_a_byte_a_time_ends_when_silence_would(
    door: Door, certificates: Certificates
) -> None:
    tap = Tap(door.address)
    async with tap.listening() as address:
        await said_by(address, b"", trusting(certificates.files("fra")))
    first = bytes(tap.said[0])
    refused = door.receiver.refused.copy()
    sent = await drip(door.address, first, PATIENT.silence_ms / 1_000 / 20)

    assert 1 < sent < len(first)
    assert door.receiver.refused - refused == {"PeerSilent": 1}
    await door.is_unharmed()


@pytest.mark.parametrize("is_certified", [False, True], ids=["stranger", "certified"])
async def test_random_bytes(door: Door, certificates: Certificates, *, is_certified: bool) -> None:
    """A short run of what `python -m benchmarks.fuzz_door` does for long."""
    dice = random.Random(7)
    context = trusting(certificates.files("fra")) if is_certified else None
    for _ in range(60):
        assert len(await said_by(door.address, garbage(dice), context)) < 5_000
    assert door.count() <= 2 + HALF_OPEN_MAX
    expected = REASONS_OF_GARBAGE if is_certified else {"NotTls", "Tls", "PeerSilent"}
    assert set(door.receiver.refused) <= expected
    assert sum(door.receiver.refused.values()) > 40
    await door.is_unharmed()


REASONS_OF_GARBAGE = {
    "BadFrame",
    "Checksum",
    "FrameTooLarge",
    "MalformedMessage",
    "UnexpectedMessage",
    "PeerSilent",  # it may be too short to be anything
}


def garbage(dice: random.Random) -> bytes:
    """Return random bytes, or frames with random contents and right checksums."""
    if dice.random() < 0.5:
        return dice.randbytes(dice.randrange(1, 2_000))
    kind = dice.choice(list(FrameType))
    frame = Frame(kind, dice.randbytes(dice.randrange(500)), dice.randrange(1 << 32))
    return encode_frame(frame) * dice.randrange(1, 4)


def hello(source: Region) -> bytes:
    return OutboundSession(source.identity, "iad", SETTINGS, time.monotonic_ns()).control_to_send()
