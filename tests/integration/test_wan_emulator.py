"""The emulated WAN does what it says: packets late, lost, overtaken, refused, cut, counted."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.wan.emulator import (
    A_ADDRESS,
    B_ADDRESS,
    EmulatedWan,
    LinkShape,
    WanError,
    compile_relay,
    why_missing,
)
from tests.support.repository import ROOT
from tests.support.waiting import is_gone, wait_until

pytestmark = pytest.mark.skipif(why_missing() is not None, reason=str(why_missing()))

FAST = LinkShape(rate_mbit_s=1_000, rtt_ms=2, queue_bytes=1 << 24)
PORT = 7_000
PACKET_BYTES = 100  # with the headers of IP and UDP
PAYLOAD_BYTES = PACKET_BYTES - 28
SO_RCVBUFFORCE = 33  # beyond the system's limit: what arrived is to be read, not dropped


class Ends:
    """A UDP socket in each namespace."""

    def __init__(self, wan: EmulatedWan, path: int = 0) -> None:
        self.wan = wan
        self.path = path
        self.a = wan.socket("a", socket.SOCK_DGRAM)
        self.b = wan.socket("b", socket.SOCK_DGRAM)
        self.a.bind((A_ADDRESS.replace(".0.", f".{path}."), PORT))
        self.b.bind((B_ADDRESS.replace(".0.", f".{path}."), PORT))
        for one in (self.a, self.b):
            one.settimeout(10)
            one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)

    def send(self, count: int) -> None:
        """Send numbered packets from a to b, and wait until the relay is done with them."""
        for number in range(count):
            payload = number.to_bytes(4, "big").ljust(PAYLOAD_BYTES, b"\0")
            self.a.sendto(payload, self.b.getsockname())
        wait_until(lambda: self._settled() == count, 20, f"{count} packets to be settled")

    def _settled(self) -> int:
        ab = self.wan.counters(self.path)["ab"]
        drops = ab["queue_drops"] + ab["loss_drops"] + ab["cut_drops"]
        return ab["delivered_packets"] + drops - self.before

    before = 0

    def receive(self, count: int) -> list[int]:
        return [int.from_bytes(self.b.recv(2_000)[:4], "big") for _ in range(count)]

    def close(self) -> None:
        self.a.close()
        self.b.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with EmulatedWan(FAST) as wan:
        ends = Ends(wan)
        yield ends
        ends.close()


def test_a_packet_arrives_whole_and_not_before_its_delay(ends: Ends) -> None:
    ends.wan.change(rtt_ms=60)
    began = time.monotonic()
    ends.send(1)
    assert ends.receive(1) == [0]
    ends.b.sendto(b"back", ends.a.getsockname())

    assert ends.a.recv(100) == b"back"
    assert time.monotonic() - began >= 0.060


def test_bytes_and_packets_are_counted_as_ip_bytes(ends: Ends) -> None:
    ends.send(50)
    ab, ba = ends.wan.counters()["ab"], ends.wan.counters()["ba"]

    assert (ab["packets"], ab["bytes"]) == (50, 50 * PACKET_BYTES)
    assert (ab["delivered_packets"], ab["delivered_bytes"]) == (50, 50 * PACKET_BYTES)
    assert ba["packets"] == 0


def test_the_share_of_losses_is_the_one_that_was_asked_for(ends: Ends) -> None:
    ends.wan.change("ab", loss=0.2)
    ends.send(4_000)
    lost = ends.wan.counters()["ab"]["loss_drops"]

    assert abs(lost - 4_000 * 0.2) < 5 * (4_000 * 0.2 * 0.8) ** 0.5


def test_losses_come_in_bursts_when_asked_for(ends: Ends) -> None:
    """Bad states of 10 packets in the mean: two losses in a row are common, not one in 100."""
    ends.wan.change("ab", burst_enter=0.01, burst_leave=0.1, burst_loss=1.0)
    ends.send(1_000)
    count = ends.wan.counters()["ab"]["delivered_packets"]
    arrived = set(ends.receive(count))
    lost = [number for number in range(1_000) if number not in arrived]
    in_a_row = sum(number + 1 in set(lost) for number in lost)

    assert lost
    assert in_a_row > len(lost) / 2


def test_packets_overtake_only_when_asked_for(ends: Ends) -> None:
    ends.wan.change("ab", jitter_ms=5)
    ends.send(300)
    assert ends.receive(300) == list(range(300))
    ends.before = 300
    ends.wan.change("ab", reorder=0.1, reorder_ms=20, jitter_ms=0)
    ends.send(300)
    arrived = ends.receive(300)

    assert arrived != sorted(arrived)
    assert sorted(arrived) == list(range(300))
    assert ends.wan.counters()["ab"]["reordered"] > 0


def test_a_full_queue_drops_what_comes_last(ends: Ends) -> None:
    """80 kbit/s: the line takes 10 ms a packet, so that hardly any leaves while 200 arrive."""
    ends.wan.change("ab", rate_mbit_s=0.08, queue_bytes=10 * PACKET_BYTES)
    ends.send(200)
    ab = ends.wan.counters()["ab"]

    assert ab["queue_bytes_most"] == 10 * PACKET_BYTES
    assert ab["queue_drops"] + ab["delivered_packets"] == 200
    assert ab["queue_drops"] > 100
    assert ends.receive(10) == list(range(10))


def test_a_cut_loses_one_direction_or_both_until_it_is_healed(ends: Ends) -> None:
    ends.wan.cut("ab")
    ends.send(5)
    ends.b.sendto(b"back", ends.a.getsockname())
    assert ends.a.recv(100) == b"back"
    assert ends.wan.counters()["ab"]["cut_drops"] == 5
    ends.wan.heal("ab")
    ends.before = 5
    ends.send(3)

    assert ends.receive(3) == [0, 1, 2]


def test_each_path_has_its_own_shape_and_counters() -> None:
    with EmulatedWan(FAST, path_count=2) as wan:
        ends = Ends(wan, path=1)
        wan.change("ab", path=1, loss=1.0)
        ends.send(5)
        ends.close()

        assert wan.counters(1)["ab"]["loss_drops"] == 5
        assert wan.counters(0)["ab"]["packets"] == 0


def test_an_unknown_field_is_refused_by_name() -> None:
    with EmulatedWan(FAST) as wan:
        with pytest.raises(TypeError, match="colour"):
            wan.change(colour=3)
        with pytest.raises(WanError, match="no such key"):
            wan._ask("set 0 ab colour=3")


def test_a_process_runs_inside_and_ends_with_the_emulator() -> None:
    with EmulatedWan(FAST) as wan:
        script = "import socket, sys; s = socket.socket(); s.bind((sys.argv[1], 1)); print('ok')"
        child = wan.popen("b", [sys.executable, "-c", script, B_ADDRESS], stdout=subprocess.PIPE)
        assert child.communicate(timeout=30)[0] == b"ok\n"
        waiter = wan.popen("a", ["sleep", "600"])

    assert is_gone(waiter.pid)


def test_nothing_is_left_when_the_owner_is_killed() -> None:
    script = (
        "import os, signal, sys\n"
        "from benchmarks.wan.emulator import EmulatedWan, LinkShape\n"
        "wan = EmulatedWan(LinkShape(10, 10)).__enter__()\n"
        "child = wan.popen('a', ['sleep', '600'])\n"
        "print(wan._relay.pid, child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    pids = [int(word) for word in done.stdout.split()]

    assert len(pids) == 2
    wait_until(lambda: all(map(is_gone, pids)), 10, f"relay and child {pids} to end")


def test_a_child_whose_owner_was_killed_before_it_could_look_runs_nothing() -> None:
    with EmulatedWan(FAST) as wan:
        assert wan._relay is not None
        gone = "1"  # never the process that starts the command here
        command = [str(compile_relay()), "enter", str(wan._relay.pid), "a", gone, "echo", "alive"]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (1, b"")
