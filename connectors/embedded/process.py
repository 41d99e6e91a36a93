"""A child process that cannot outlive us, seen from asyncio: `guard.py`'s other half."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any, Final, Self

from connectors.embedded.guard import guarded

_PID_BYTES_MAX: Final = 32
_GUARD_MARGIN_S: Final = 2.0


class GuardedProcess:
    """A command under the guard: it ends when we stop it, and when we end in whatever way.

    Make one with `start`, end it with `stop`; both on the same event loop.
    """

    def __init__(
        self, guard: asyncio.subprocess.Process, leash: socket.socket, pid: int, timeout_s: float
    ) -> None:
        self._guard = guard
        self._leash = leash
        self._stop_timeout_s = timeout_s
        self.pid: Final = pid
        """Process id of the command itself, not of its guard."""

    @classmethod
    async def start(
        cls, command: Sequence[str], *, stop_timeout_s: float = 10.0, **options: Any
    ) -> Self:
        """Start a command in a session of its own, so that Ctrl-C in the terminal is only ours.

        Args:
            command: Program and arguments.
            stop_timeout_s: How long it may take to end after SIGTERM before SIGKILL, seconds.
            options: As for `asyncio.create_subprocess_exec`: `cwd`, `env`, `stdout`, `stderr`,
                `pass_fds` and the like, but `stdin`, which is the leash.

        Raises:
            OSError: It cannot be run.
        """
        leash, their_end = socket.socketpair()
        leash.setblocking(False)  # noqa: FBT003 - the socket's own interface
        try:
            with their_end:
                guard = await asyncio.create_subprocess_exec(
                    *guarded(command, "--report-pid", "--stop-timeout-s", str(stop_timeout_s)),
                    stdin=their_end.fileno(),
                    start_new_session=True,
                    **options,
                )
        except BaseException:
            leash.close()
            raise
        try:
            pid_line = await asyncio.get_running_loop().sock_recv(leash, _PID_BYTES_MAX)
        except BaseException:
            leash.close()
            await guard.wait()  # which stops what it started by then, in bounded time
            raise
        if not pid_line:
            leash.close()
            raise OSError(f"cannot run {command[0]}: exit code {await guard.wait()}")
        return cls(guard, leash, int(pid_line), stop_timeout_s)

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """The command's standard output, if `stdout=PIPE` was asked for."""
        return self._guard.stdout

    @property
    def stderr(self) -> asyncio.StreamReader | None:
        """The command's standard error, if `stderr=PIPE` was asked for."""
        return self._guard.stderr

    @property
    def exit_code(self) -> int | None:
        """Exit code of the command, 128 + N after signal N; None while it runs."""
        return self._guard.returncode

    async def wait(self) -> int:
        """Wait until the command has ended, asked or not, and return its exit code."""
        code = await self._guard.wait()
        self._leash.close()
        if code < 0:
            # The guard itself was killed. Linux has ended the command then; others leave it to us.
            self._signal_group(signal.SIGKILL)
            return 128 - code
        return code

    async def stop(self) -> int:
        """End the command, in an orderly way if it lets itself; return its exit code.

        Takes the stop time-out and a little more at most. More calls than one do no harm.
        """
        self._leash.close()
        try:
            async with asyncio.timeout(self._stop_timeout_s + _GUARD_MARGIN_S):
                return await self.wait()
        except TimeoutError:
            self._signal_group(signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                self._guard.kill()
            return await self.wait()

    def kill(self) -> None:
        """Send SIGKILL to the command, as a fault would; `wait` tells when it is gone."""
        if self._guard.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
