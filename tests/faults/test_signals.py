"""Signals reach real processes: paused ones keep what they have, resumed ones go on."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.faults.signals import is_paused, kill, pause, paused, resume
from tests.support.waiting import wait_until

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


@pytest.fixture
def echo() -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", ECHO], stdin=pipe, stdout=pipe, text=True) as one:
        assert answer(one, "hello") == "hello"
        yield one
        one.kill()


def answer(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_a_paused_process_goes_on_where_it_was(echo: subprocess.Popen[str]) -> None:
    pause(echo.pid)
    wait_until(lambda: is_paused(echo.pid), 10, "the process to stop")
    assert echo.poll() is None
    resume(echo.pid)

    assert answer(echo, "still there") == "still there"
    assert not is_paused(echo.pid)


def test_a_block_resumes_whatever_happens(echo: subprocess.Popen[str]) -> None:
    def fail() -> None:
        with paused(echo.pid):
            wait_until(lambda: is_paused(echo.pid), 10, "the process to stop")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert answer(echo, "awake") == "awake"


@pytest.mark.parametrize("is_stopped", [False, True])
def test_kill_needs_nobody_s_consent(echo: subprocess.Popen[str], *, is_stopped: bool) -> None:
    if is_stopped:
        pause(echo.pid)
    kill(echo.pid)

    assert echo.wait(10) == -signal.SIGKILL
    assert not is_paused(echo.pid)


def test_a_process_that_is_gone_is_no_error(echo: subprocess.Popen[str]) -> None:
    echo.kill()
    echo.wait(10)
    for act in (kill, pause, resume):
        act(echo.pid)
