"""A container engine: the one that answers, else one of our own for as long as it is needed.

Our own is `dockerd` on a socket and a folder of its own, without touching the machine's firewall.
It takes root and Debian's package docker.io, or any other `dockerd`.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.waiting import wait_until

ANSWER_S: Final = 20.0
START_S: Final = 60.0


def default_address() -> str:
    """Return where the client looks for its engine."""
    return os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


@contextlib.contextmanager
def an_engine() -> Iterator[str | None]:
    """Give the address of an engine, None where none answers and none can be started."""
    if answers(default_address()):
        yield default_address()
        return
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="dwcp-dockerd-") as name:
        yield from _our_own(Path(name))


def answers(address: str) -> bool:
    """Say whether an engine answers there."""
    if shutil.which("docker") is None:
        return False
    command = ["docker", "--host", address, "version", "--format", "{{.Server.Version}}"]
    done = subprocess.run(command, capture_output=True, timeout=ANSWER_S, check=False)
    return done.returncode == 0


def _our_own(folder: Path) -> Iterator[str | None]:
    address = f"unix://{folder / 'docker.sock'}"
    options = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    command = ["dockerd", "--iptables=false", "--host", address]
    command += [f"--{option}={folder / part}" for option, part in options.items()]
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: engine.poll() is not None or answers(address), START_S, "dockerd")
        yield address if engine.poll() is None else None
    finally:
        engine.terminate()
        engine.wait(START_S)
        _unmount_below(folder)


def _unmount_below(folder: Path) -> None:
    """Unmount what the engine leaves behind, such as its containers' network namespaces."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    places = [Path(line.split()[4]) for line in lines]
    for place in sorted((one for one in places if one.is_relative_to(folder)), reverse=True):
        subprocess.run(["/bin/umount", place], check=True)


def docker(address: str, *arguments: str, timeout_s: float = 600.0) -> str:
    """Run the client and return what it says.

    Raises:
        RuntimeError: It failed; with its last words.
    """
    environment = {**os.environ, "DOCKER_HOST": address, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        [shutil.which("docker") or "docker", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(arguments)}: {(done.stderr or done.stdout)[-2_000:]}")
    return done.stdout


def has_image(address: str, name: str) -> bool:
    """Say whether the engine has an image."""
    return bool(docker(address, "image", "ls", "--quiet", name).strip())


def compose_command() -> list[str]:
    """Return the words that call compose, none where it is not installed."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]) is None:
            continue
        if subprocess.run([*words, "version"], capture_output=True, check=False).returncode == 0:
            return words
    return []
