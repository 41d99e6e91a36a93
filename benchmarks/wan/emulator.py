"""A wide-area link between two network namespaces of this machine, as a context manager.

::

    with EmulatedWan(LinkShape(rate_mbit_s=400, rtt_ms=80, loss=0.001)) as wan:
        server = wan.socket("b")  # a socket of namespace b; bind it to B_ADDRESS
        sender = wan.popen("a", [sys.executable, "send.py"])
        wan.change(rate_mbit_s=20)
        print(wan.counters())

`relay.c` says how packets travel. Root, `/dev/net/tun` and a C compiler are needed: `why_missing`
says what is not there. The namespaces have no name and live as long as the relay, which ends with
this process: nothing has to be cleaned up after a crash.
"""

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from connectors.embedded.host import cache_folder

Side = Literal["a", "b"]
Way = Literal["ab", "ba", "both"]

A_ADDRESS: Final = "10.79.0.1"
B_ADDRESS: Final = "10.79.0.2"
QUEUE_BYTES_MIN: Final = 64_000  # what the smallest home router has
SOURCE: Final = Path(__file__).with_name("relay.c")
_CLONE_NEWNET: Final = 0x40000000
_FILES: Final = {"a": 60, "b": 61}  # as in relay.c


class WanError(Exception):
    """The emulator could not be built or did not do what it was told."""


@functools.cache
def why_missing() -> str | None:
    """Say what keeps the emulator from working here; None when nothing does."""
    if not sys.platform.startswith("linux"):
        return "the emulated WAN needs Linux"
    if os.geteuid() != 0:
        return "the emulated WAN needs root: it makes network namespaces"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "the emulated WAN needs /dev/net/tun"
    if shutil.which("cc") is None:
        return "the emulated WAN needs a C compiler called cc"
    try:
        program = compile_relay()
    except WanError as error:
        return f"the emulated WAN cannot be built: {error}"
    trial = subprocess.run(
        [program, "run", "1", "1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return None if trial.returncode == 0 else f"the emulated WAN does not run: {trial.stderr}"


@dataclass(frozen=True, slots=True)
class LinkShape:
    """One direction of a path.

    Attributes:
        rate_mbit_s: What the line carries, IP headers included; 0 for no limit.
        rtt_ms: Round trip; each direction takes half of it.
        loss: Share of packets lost, each for itself.
        queue_bytes: Of the drop-tail queue before the line; none: one bandwidth-delay product.
        jitter_ms: Added at random up to this, without overtaking.
        burst_enter: Chance per packet to fall into the bad state; `burst_leave` to leave it, and
            `burst_loss` what is lost while in it (Gilbert and Elliott).
        reorder: Share of packets that take `reorder_ms` longer, and so are overtaken.
    """

    rate_mbit_s: float
    rtt_ms: float
    loss: float = 0.0
    queue_bytes: int | None = None
    jitter_ms: float = 0.0
    burst_enter: float = 0.0
    burst_leave: float = 1.0
    burst_loss: float = 0.0
    reorder: float = 0.0
    reorder_ms: float = 0.0

    @property
    def bdp_bytes(self) -> int:
        """Bandwidth times delay."""
        return round(self.rate_mbit_s * 1e6 / 8 * self.rtt_ms / 1e3)

    def settings(self) -> dict[str, float]:
        """Return it as the relay's keys."""
        queue = self.queue_bytes
        return {
            "rate": self.rate_mbit_s * 1e6,
            "delay_us": self.rtt_ms * 500,
            "jitter_us": self.jitter_ms * 1_000,
            "queue_bytes": max(QUEUE_BYTES_MIN, self.bdp_bytes) if queue is None else queue,
            "loss": self.loss,
            "burst_enter": self.burst_enter,
            "burst_leave": self.burst_leave,
            "burst_loss": self.burst_loss,
            "reorder": self.reorder,
            "reorder_us": self.reorder_ms * 1_000,
        }


class EmulatedWan:
    """Two namespaces and the path, or paths, between them.

    Args:
        shape: The direction from a to b.
        backward: From b to a; if not given, as `shape` but without loss, for what comes back is
            mostly acknowledgements.
        path_count: Paths with an address each, 1 to 4: 10.79.PATH.1 and 10.79.PATH.2.
        seed: Of the dice for losses.
    """

    def __init__(
        self,
        shape: LinkShape,
        *,
        backward: LinkShape | None = None,
        path_count: int = 1,
        seed: int = 1,
    ) -> None:
        self._shapes = {"ab": shape, "ba": backward or _lossless(shape)}
        self._path_count = path_count
        self._seed = seed
        self._lock = threading.Lock()
        self._children: list[subprocess.Popen[Any]] = []
        self._relay: subprocess.Popen[str] | None = None
        self._program = Path()

    def __enter__(self) -> Self:
        """Start the relay and give all paths their shape.

        Raises:
            WanError: Something is missing: root, TUN, a compiler.
        """
        missing = why_missing()
        if missing is not None:
            raise WanError(missing)
        self._program = compile_relay()
        self._relay = subprocess.Popen(
            [self._program, "run", str(self._path_count), str(self._seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._expect_ready()
            for path in range(self._path_count):
                self._apply(path, self._shapes)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything that runs inside, then the relay."""
        self.close()

    def close(self) -> None:
        """End the children and the relay; safe to repeat."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        self._children.clear()
        if self._relay is not None:
            self._relay.kill()
            with self._relay:
                pass
            self._relay = None

    def change(self, way: Way = "both", path: int = 0, **fields: Any) -> None:
        """Change fields of the shape while packets travel; what is queued takes the new rate.

        The queue keeps its size in bytes unless `queue_bytes` is given, as a router's would.
        """
        ways = ("ab", "ba") if way == "both" else (way,)
        queues = {one: self._shapes[one].settings()["queue_bytes"] for one in ways}
        changed = {}
        for one in ways:
            fixed = {"queue_bytes": int(queues[one])} | fields
            changed[one] = self._shapes[one] = replace(self._shapes[one], **fixed)
        self._apply(path, changed)

    def cut(self, way: Way = "both", path: int = 0) -> None:
        """Lose everything that arrives in this direction from now on."""
        self._ask(f"set {path} {way} cut=1")

    def heal(self, way: Way = "both", path: int = 0) -> None:
        """Let packets through again."""
        self._ask(f"set {path} {way} cut=0")

    def counters(self, path: int = 0) -> dict[str, dict[str, int]]:
        """Return what each direction, `ab` and `ba`, carried and lost.

        `bytes` are IP bytes put on the line, also of what was lost on it. `refused` and
        `overruns` are packets that the emulator itself was too slow for: figures are worth
        nothing where they are not 0.
        """
        paths: list[dict[str, dict[str, int]]] = json.loads(self._ask("stats"))["paths"]
        return paths[path]

    def popen(self, side: Side, argv: Sequence[str | Path], **options: Any) -> Any:
        """Start a process in a namespace; it is killed at the end, and with this process."""
        assert self._relay is not None, "the emulator is not running"
        enter = [str(self._program), "enter", str(self._relay.pid), side, str(os.getpid())]
        command = [*enter, *map(str, argv)]
        child = subprocess.Popen(command, **options)
        self._children.append(child)
        return child

    @contextlib.contextmanager
    def inside(self, side: Side) -> Iterator[None]:
        """Let this thread make its sockets in a namespace, until the end of the block."""
        assert self._relay is not None, "the emulator is not running"
        with (
            Path("/proc/thread-self/ns/net").open("rb") as here,
            Path(f"/proc/{self._relay.pid}/fd/{_FILES[side]}").open("rb") as there,
        ):
            _set_namespace(there.fileno())
            try:
                yield
            finally:
                _set_namespace(here.fileno())

    def socket(self, side: Side, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """Make a socket of a namespace; it stays there, whoever uses it."""
        with self.inside(side):
            return socket.socket(socket.AF_INET, kind)

    def _expect_ready(self) -> None:
        if self._read() != "ready":
            raise WanError("the relay did not start; its reason stands on stderr")

    def _apply(self, path: int, shapes: dict[str, LinkShape]) -> None:
        for way, shape in shapes.items():
            pairs = " ".join(f"{key}={value:.9g}" for key, value in shape.settings().items())
            self._ask(f"set {path} {way} {pairs}")

    def _ask(self, line: str) -> str:
        assert self._relay is not None, "the emulator is not running"
        assert self._relay.stdin is not None
        with self._lock:
            self._relay.stdin.write(line + "\n")
            self._relay.stdin.flush()
            answer = self._read()
        if not answer or answer.startswith("error"):
            raise WanError(f"{line}: {answer or 'the relay ended'}")
        return answer

    def _read(self) -> str:
        assert self._relay is not None
        assert self._relay.stdout is not None
        return self._relay.stdout.readline().strip()


def _lossless(shape: LinkShape) -> LinkShape:
    return replace(shape, loss=0.0, burst_enter=0.0, reorder=0.0)


def compile_relay() -> Path:
    """Compile the relay into the user's cache, once for each version of its source.

    Raises:
        WanError: The compiler refused it.
    """
    source = SOURCE.read_bytes()
    program = cache_folder() / f"wan-relay-{hashlib.sha256(source).hexdigest()[:16]}"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        made = Path(folder) / "relay"
        command = ["cc", "-O2", "-o", str(made), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise WanError(f"cc refused relay.c: {done.stderr.strip()[:500]}")
        made.replace(program)
    return program


def _set_namespace(file: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
