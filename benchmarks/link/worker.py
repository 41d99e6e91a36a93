"""What every process of a measurement has in common: it says where it is when it is asked.

A worker writes one JSON object a line: first what its parent has to know to go on, then one for
each line on its standard input: `mark` asks where it is, other commands are its own. It ends when
that ends, and so with its parent.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

BLOCK_BYTES: Final = 1 << 18  # 64 KiB to 1 MiB make no difference, less costs


Command = Callable[[list[str]], dict[str, Any]]


def serve_marks(
    first: dict[str, Any],
    snapshot: Callable[[], dict[str, Any]],
    commands: Mapping[str, Command] = MappingProxyType({}),
) -> None:
    """Answer whatever is asked; never returns.

    Args:
        first: The first answer, not asked for.
        snapshot: Gives the answer to `mark`; time and CPU are added.
        commands: By their first word; each gets the other words and gives its answer.
    """
    _write(first)
    for line in sys.stdin:
        word, *others = line.split()
        own = snapshot() if word == "mark" else commands[word](others)
        _write({"at_s": time.monotonic(), "cpu_s": time.process_time(), **own})
    os._exit(0)  # threads may sit in a send: nothing is left to be cleaned up


def answer_marks(
    first: dict[str, Any],
    snapshot: Callable[[], dict[str, Any]],
    commands: Mapping[str, Command] = MappingProxyType({}),
) -> None:
    """Do the same on a thread of its own."""
    arguments = (first, snapshot, commands)
    threading.Thread(target=serve_marks, args=arguments, daemon=True).start()


def _write(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def ask_control(connection: socket.socket, control: str) -> None:
    """Ask for a congestion control; none: the system's own."""
    if control:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())
