"""Run a command that must not outlive us: `python guard.py [options] -- COMMAND...`.

Standard input is the leash: a pipe or socket whose other end only the owner holds. When the owner
ends, in whatever way, the kernel closes it, the guard reads end-of-file and stops the command:
SIGTERM, then SIGKILL to its process group after a bounded time. SIGTERM, SIGINT and SIGHUP to the
guard are passed on and start the same clock. The guard ends with the command's exit code (128 + N
after signal N, 127 or 126 if it cannot be run).

Options:
    --stop-timeout-s S  Seconds between SIGTERM and SIGKILL; 10 if not given.
    --report-pid        Write the command's pid and a newline to standard input, a socket.
    --detach            No leash: start the command in a session of its own, print its pid, end.

An owner that forks without exec shares the leash with its children: it then ends with the last.
This file needs the standard library only and is run by its path (`guarded`), whatever `sys.path`
is. Where Linux is below, the command also ends when the guard itself is killed.
"""

import argparse
import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

_LEASH = 0
_READ_BYTES = 4096
_PR_SET_PDEATHSIG = 1
_CANNOT_RUN = 126
_NOT_FOUND = 127
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def guarded(command: Sequence[str], *options: str) -> list[str]:
    """Return the command line that runs `command` under the guard with the given options."""
    # Isolated and without site-packages: 10 ms less, and nothing of the user's can break it.
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), *options, "--", *command]  # noqa: PTH100


def main(arguments: Sequence[str]) -> int:
    """Run the guard as described above and return its exit code."""
    parser = argparse.ArgumentParser(prog="guard", usage="guard [options] -- COMMAND...")
    parser.add_argument("--stop-timeout-s", type=float, default=10.0)
    parser.add_argument("--report-pid", action="store_true")
    parser.add_argument("--detach", action="store_true")
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, command = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    if not command:
        parser.error("a command is needed after --")
    try:
        if options.detach:
            return _detach(command)
        return _guard(command, options.stop_timeout_s, report_pid=options.report_pid)
    except FileNotFoundError as error:
        sys.stderr.write(f"guard: {error}\n")
        return _NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"guard: {error}\n")
        return _CANNOT_RUN


def _detach(command: Sequence[str]) -> int:
    child = subprocess.Popen(  # noqa: S603 - running what it is given is its purpose
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        close_fds=False,
        start_new_session=True,
    )
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    child.returncode = 0  # never to be waited for by us
    return 0


def _guard(command: Sequence[str], stop_timeout_s: float, *, report_pid: bool) -> int:
    os.fstat(_LEASH)  # without a leash nothing may be started
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (*_PASSED_ON, signal.SIGCHLD):
        signal.signal(number, _note)
    child = subprocess.Popen(  # noqa: S603 - running what it is given is its purpose
        command,
        stdin=subprocess.DEVNULL,
        close_fds=False,  # descriptors that were passed to us are meant for the command
        process_group=0,
        preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - we have one thread
    )
    if report_pid:
        with contextlib.suppress(OSError):  # an owner that is gone is noticed below
            os.write(_LEASH, f"{child.pid}\n".encode())
    code = _watch(child, wake_read, stop_timeout_s)
    return code if code >= 0 else 128 - code


def _watch(child: subprocess.Popen[bytes], wake_read: int, stop_timeout_s: float) -> int:
    """Wait for the child; pass signals on; stop it when the leash ends."""
    watched = [_LEASH, wake_read]
    kill_at_s: float | None = None
    while (code := child.poll()) is None:
        wait_s = None if kill_at_s is None else max(0.0, kill_at_s - time.monotonic())
        ready, _, _ = select.select(watched, [], [], wait_s)
        asked = []
        if wake_read in ready:
            asked = [number for number in os.read(wake_read, _READ_BYTES) if number in _PASSED_ON]
        if _LEASH in ready and _has_ended(_LEASH):
            watched.remove(_LEASH)
            asked.append(signal.SIGTERM)
        for number in asked:
            child.send_signal(number)
        if asked and kill_at_s is None:
            kill_at_s = time.monotonic() + stop_timeout_s
        elif kill_at_s is not None and time.monotonic() >= kill_at_s:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            kill_at_s = None
    return code


def _has_ended(leash: int) -> bool:
    try:
        return not os.read(leash, _READ_BYTES)
    except OSError:
        return True


def _note(_number: int, _frame: object) -> None:
    """Do nothing: the number goes through the wake-up descriptor."""


def _die_with_parent(parent_pid: int) -> Callable[[], None] | None:
    """Return what makes a Linux child end when we are killed; None elsewhere."""
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - only here

    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(_CANNOT_RUN)

    return ask


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
