"""The guard: what it runs never outlives its owner, and its exit code is the command's."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from connectors.embedded.guard import guarded
from connectors.embedded.process import GuardedProcess
from tests.support.waiting import is_gone, until, wait_until

SLEEPER = [
    sys.executable,
    "-ISc",
    "import os, time; print(os.getpid(), flush=True); time.sleep(60)",
]
STUBBORN_PROGRAM = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(60)
"""
GONE_S = 5.0


def start(command: list[str], *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        guarded(command, *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def read_pid(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def close(process: subprocess.Popen[bytes]) -> int:
    """Let go of the leash; return the exit code."""
    with process:
        assert process.stdin is not None
        process.stdin.close()
        return process.wait(GONE_S)


@pytest.mark.parametrize(
    ("program", "expected"),
    [("pass", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 128 + 9)],
)
def test_the_exit_code_is_the_commands(program: str, expected: int) -> None:
    with start([sys.executable, "-ISc", program]) as process:
        code = process.wait(GONE_S)

    assert code == expected


def test_a_command_that_is_not_there_gives_127() -> None:
    done = subprocess.run(
        guarded(["/nowhere/to/be/found"]), input=b"", capture_output=True, check=False
    )

    assert done.returncode == 127
    assert b"/nowhere/to/be/found" in done.stderr


def test_the_command_ends_when_the_leash_is_let_go() -> None:
    process = start(SLEEPER)
    pid = read_pid(process)

    assert close(process) == 128 + signal.SIGTERM
    assert is_gone(pid)


def test_the_command_ends_when_its_owner_is_killed() -> None:
    owner_program = (
        "import subprocess, sys, time\n"
        "guard = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(60)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-ISc", owner_program, *guarded(SLEEPER)], stdout=subprocess.PIPE
    )
    with owner:
        pid = read_pid(owner)
        owner.kill()
        wait_until(lambda: is_gone(pid), GONE_S, "the child of a killed owner to end")

    assert owner.returncode == -signal.SIGKILL


def test_a_command_that_ignores_sigterm_is_killed_after_the_bound() -> None:
    process = start([sys.executable, "-ISc", STUBBORN_PROGRAM], "--stop-timeout-s", "0.3")
    pid = read_pid(process)
    start_s = time.monotonic()
    code = close(process)
    took_s = time.monotonic() - start_s

    assert code == 128 + signal.SIGKILL
    assert is_gone(pid)
    assert took_s >= 0.3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_to_the_guard_reach_the_command(number: signal.Signals) -> None:
    program = (
        "import os, signal, time\n"
        "for each in (signal.SIGTERM, signal.SIGINT):\n"
        "    signal.signal(each, lambda number, _: os._exit(number))\n"
        "print(0, flush=True); time.sleep(60)\n"
    )
    process = start([sys.executable, "-ISc", program])
    read_pid(process)
    process.send_signal(number)
    process.wait(GONE_S)

    assert close(process) == number


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_the_command_ends_when_the_guard_itself_is_killed() -> None:
    process = start(SLEEPER)
    pid = read_pid(process)
    process.kill()
    wait_until(lambda: is_gone(pid), GONE_S, "the child of a killed guard to end")

    assert close(process) == -signal.SIGKILL


def test_a_detached_command_lives_on_without_leash(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        done = subprocess.run(
            guarded(SLEEPER, "--detach"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            check=True,
        )
    pid = int(done.stdout)
    try:
        wait_until(lambda: bool((tmp_path / "output").read_bytes()), GONE_S, "its first line")

        assert int((tmp_path / "output").read_bytes()) == pid
        assert os.getsid(pid) == pid
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_a_guarded_process_tells_the_commands_pid_and_ends_on_stop() -> None:
    process = await GuardedProcess.start(SLEEPER, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = int(await process.stdout.readline())
    session = os.getsid(said)
    codes = tuple(await asyncio.gather(process.stop(), process.stop()))

    assert process.pid == said
    assert session != os.getsid(0)  # Ctrl-C in our terminal does not reach it
    assert codes == (128 + signal.SIGTERM,) * 2
    assert is_gone(said)


async def test_a_guarded_process_that_is_killed_is_reported() -> None:
    process = await GuardedProcess.start(SLEEPER, stdout=subprocess.DEVNULL)
    assert process.exit_code is None
    process.kill()

    assert await process.wait() == 128 + signal.SIGKILL
    assert process.exit_code == 128 + signal.SIGKILL


async def test_a_guarded_process_whose_guard_is_killed_is_ended_and_reported() -> None:
    process = await GuardedProcess.start(SLEEPER, stdout=subprocess.DEVNULL)
    os.kill(process._guard.pid, signal.SIGKILL)

    assert await process.wait() == 128 + signal.SIGKILL
    await until(lambda: is_gone(process.pid), GONE_S, "the child of a killed guard to end")


async def test_a_guarded_process_that_cannot_be_run_is_an_os_error() -> None:
    with pytest.raises(OSError, match="cannot run /nowhere/to/be/found: exit code 127"):
        await GuardedProcess.start(["/nowhere/to/be/found"], stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("turn_count", [1, 5, 50])
async def test_a_cancelled_start_leaves_nothing(turn_count: int) -> None:
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    command = [sys.executable, "-ISc", program, marker := os.urandom(8).hex()]
    task = asyncio.ensure_future(GuardedProcess.start(command, stdout=subprocess.DEVNULL))
    for _ in range(turn_count):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not _runs(marker), GONE_S, "the cancelled child to end")


def _runs(marker: str) -> bool:
    import psutil  # noqa: PLC0415

    return any(
        marker in (process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
    )
