"""Encrypted links over real sockets: identity, renewal while they stand."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from streams import topics
from tests.support.certs import Certificates
from tests.support.links import SETTINGS, Link, Region, assert_same, has_all, shipping
from tests.support.waiting import until

WAIT_S = 10
PATIENT = replace(SETTINGS, silence_ms=5_000)  # silence is not the subject


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def ams(certificates: Certificates) -> Region:
    return encrypted("ams", certificates)


@pytest.fixture
def iad(certificates: Certificates) -> Region:
    return encrypted("iad", certificates)


def encrypted(name: str, certificates: Certificates) -> Region:
    region = Region(name)
    region.tls = certificates.tls(name)
    return region


async def arrived(target: Region, source: Region) -> None:
    await until(has_all(target, source), WAIT_S, "all records")
    assert_same(target, source)


async def up(link: Link) -> None:
    await until(lambda: link.status.state == "up", WAIT_S, "the link")


async def test_records_arrive_over_an_encrypted_link_once_and_in_order(
    ams: Region, iad: Region
) -> None:
    await ams.produce(300, value_bytes=3_000)
    async with (
        iad.listening(PATIENT) as receiver,
        shipping(ams, "iad", iad.address, settings=PATIENT) as link,
    ):
        await arrived(iad, ams)
        await ams.produce(50)
        await arrived(iad, ams)

        assert link.status.is_encrypted is True
        assert receiver.status["ams", "ams-1"].is_encrypted is True
        assert (link.status.sessions, link.status.error) == (1, "")
    assert receiver.refused == {}


async def test_nothing_of_a_record_can_be_read_on_the_wire(ams: Region, iad: Region) -> None:
    """Only that: cryptography itself is OpenSSL's to test."""
    seen = bytearray()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            seen.extend(data)
            writer.write(data)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = iad.address.split(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))
        except OSError:
            pass  # one side went first
        finally:
            writer.transport.abort()
            far_writer.transport.abort()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await ams.produce(5)
    async with iad.listening(PATIENT), shipping(ams, "iad", address, settings=PATIENT):
        await arrived(iad, ams)
    server.close()
    await server.wait_closed()

    assert len(seen) > 1_000
    assert b"ams-1" not in seen
    assert b"DW" + bytes([1]) not in seen


async def test_new_certificates_are_used_by_new_sessions_and_the_old_ones_go_on(
    ams: Region, iad: Region, certificates: Certificates
) -> None:
    assert ams.tls is not None
    assert iad.tls is not None
    serial = ams.tls.to_json()["serial"]
    async with (
        iad.listening(PATIENT) as receiver,
        shipping(ams, "iad", iad.address, settings=PATIENT) as link,
    ):
        await ams.produce(5)
        await arrived(iad, ams)
        certificates.authority.rotate()
        assert ams.tls.to_json()["serial"] != serial
        await ams.produce(5)
        await arrived(iad, ams)
        assert link.status.sessions == 1

        await link.cut()
        async with shipping(ams, "iad", iad.address, settings=PATIENT) as renewed:
            await up(renewed)
            await ams.produce(1)  # so that its data stream is not cut off in the handshake
            await arrived(iad, ams)
        assert [tls.to_json()["reloads"] for tls in (ams.tls, iad.tls)] == [1, 1]
    assert receiver.refused == {}


async def test_the_authority_is_changed_in_three_steps_without_a_refusal(
    ams: Region, iad: Region, certificates: Certificates
) -> None:
    """All trust both, all show new certificates, all trust the new one only."""
    authority = certificates.authority
    steps: list[Callable[[], object]] = [
        authority.rotate_authority,
        lambda: authority.rotate("ams"),  # one side has it first
        lambda: authority.rotate("iad"),
        authority.drop_old,
    ]
    async with iad.listening(PATIENT) as receiver:
        for step in steps:
            step()
            await ams.produce(3)
            async with shipping(ams, "iad", iad.address, settings=PATIENT) as link:
                await arrived(iad, ams)
                assert (link.status.state, link.status.error) == ("up", "")
    assert receiver.refused == {}


async def test_files_that_cannot_be_used_are_said_and_the_old_ones_stay(
    ams: Region, iad: Region, certificates: Certificates
) -> None:
    assert ams.tls is not None
    path = certificates.authority.folder / "ams.pem"
    good = path.read_bytes()
    async with iad.listening(PATIENT) as receiver:
        for broken in (b"", good[:100], (certificates.authority.folder / "iad.pem").read_bytes()):
            path.write_bytes(broken)
            async with shipping(ams, "iad", iad.address, settings=PATIENT) as link:
                await up(link)
            assert "link.tls.cert" in ams.tls.to_json()["error"]
        path.write_bytes(good)
        assert ams.tls.to_json()["error"] == ""
    assert receiver.refused == {}
    assert iad.count(topics.REPLICA) == 0
