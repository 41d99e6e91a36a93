"""What the machine has to give: folders of the user, free disk, free ports on loopback."""

import contextlib
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from schemas.errors import DiskSpaceError, PortInUseError

LOOPBACK: Final = "127.0.0.1"
_CONNECT_TIMEOUT_S: Final = 1.0
_PORTS: Final = (20_000, 32_000)
_given: set[int] = set()


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return DWCP's folder for what can be fetched again (XDG's rules; Apple's on a Mac)."""
    if chosen := environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "dwcp"
    where = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return Path.home() / where / "dwcp"


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return DWCP's folder for what the user wants to keep (XDG's rules; Apple's on a Mac)."""
    if chosen := environ.get("XDG_DATA_HOME"):
        return Path(chosen) / "dwcp"
    where = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
    return Path.home() / where / "dwcp"


def require_room(folder: Path, needed_bytes: int) -> None:
    """Check that the disk under `folder` has room; the folder itself need not exist.

    Args:
        folder: Where something is to be written.
        needed_bytes: How much must be free, bytes.

    Raises:
        DiskSpaceError: Less is free.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise DiskSpaceError(
            f"{folder} has {free >> 20} MiB free, {needed_bytes >> 20} MiB are needed: "
            "make room there or choose another folder"
        )


def free_port() -> int:
    """Return a TCP port that nobody listened on a moment ago, on loopback, never the same twice.

    It lies below the range from which systems take ports for outgoing connections (32,768 on
    Linux, 49,152 elsewhere): a broker that is stopped and started again must find it free.
    """
    while True:
        port = secrets.randbelow(_PORTS[1] - _PORTS[0]) + _PORTS[0]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            if port not in _given:
                _given.add(port)
                return port


def require_free_port(port: int) -> None:
    """Check that nobody listens on `port` of loopback.

    Raises:
        PortInUseError: Somebody does, or the port may not be bound.
    """
    # Binding alone is not enough: BSD lets 127.0.0.1 be bound beside a listener on all addresses.
    with socket.socket() as probe:
        probe.settimeout(_CONNECT_TIMEOUT_S)
        if probe.connect_ex((LOOPBACK, port)) == 0:
            raise port_in_use(port)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise port_in_use(port) from error


def port_in_use(port: int) -> PortInUseError:
    """Word the error for a port that cannot be listened on."""
    return PortInUseError(
        f"port {port} on {LOOPBACK} is taken: stop the program that listens there "
        "or choose another port"
    )
