"""Build the images: `python -m tests.containers.images [kafka] [node]`, by `make docker-images`.

No registry is asked where one cannot be reached: Kafka's image is the jars and the Java that this
machine runs Kafka with anyway, on nothing; a node's image stands on DWCP_PYTHON_IMAGE, else on
python:X.Y-slim-bookworm, and where that cannot be had on a base made by debootstrap.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from os import environ
from pathlib import Path
from typing import Final

from connectors.embedded.jars import ensure_jars
from connectors.embedded.java import find_java
from tests.containers.engine import answers, default_address, docker, has_image
from tests.support.repository import ROOT

KAFKA_IMAGE: Final = "dwcp-kafka"
NODE_IMAGE: Final = "dwcp-node"
BASE_IMAGE: Final = "dwcp-python-base"
DOCKER: Final = ROOT / "docker"
_TOOLS: Final = ("sh", "env", "sed", "tr")
_LIBRARY: Final = re.compile(r"(/\S+)(?: \(0x|$)", re.MULTILINE)


def main() -> None:
    """Build what is asked for, all if nothing is."""
    wanted = sys.argv[1:] or ["kafka", "node"]
    builders = {"kafka": build_kafka, "node": build_node}
    address = default_address()
    if not answers(address):
        sys.exit(
            f"no container engine answers on {address}: docker/README.md tells how to have one"
        )
    for name in wanted:
        sys.stderr.write(f"building {name} ...\n")
        builders[name](address)


def build_kafka(address: str) -> str:
    """Build Kafka's image and return its name."""
    archive = DOCKER / "kafka" / "root.tar"
    write_root(archive)
    docker(address, "build", "--tag", KAFKA_IMAGE, str(DOCKER / "kafka"))
    archive.unlink()
    return KAFKA_IMAGE


def build_node(address: str) -> str:
    """Build a node's image and return its name."""
    base = _python_base(address)
    wheels = DOCKER / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    make = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels), str(ROOT)]
    subprocess.run(make, check=True)
    docker(address, "build", "--build-arg", f"BASE={base}", "--tag", NODE_IMAGE, str(DOCKER))
    shutil.rmtree(wheels)
    return NODE_IMAGE


def write_root(archive: Path) -> None:
    """Write the files of Kafka's image: Java, jars, four tools, and the libraries of all."""
    java = find_java().executable.resolve()
    home = java.parent.parent
    tools = {f"bin/{name}": Path(shutil.which(name) or "").resolve() for name in _TOOLS}
    programs = [*tools.values(), java, *home.rglob("lib/**/*.so")]
    with tarfile.open(archive, "w") as tar:
        tar.add(home, "kafka/java")
        for jar in ensure_jars():
            tar.add(jar, f"kafka/libs/{jar.name}")
        for name, path in tools.items():
            tar.add(path, name)
        for library in sorted(_libraries(programs, home)):
            tar.add(library.resolve(), str(library).lstrip("/"))
        for folder in ("tmp", "var/lib/kafka/data"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)


def _libraries(programs: Iterable[Path], home: Path) -> set[Path]:
    """Return the libraries of the system that some programs need, the loader among them."""
    return {path for program in programs for path in _needed(program) if home not in path.parents}


def _needed(program: Path) -> Iterator[Path]:
    done = subprocess.run(
        [shutil.which("ldd") or "ldd", str(program)], capture_output=True, text=True, check=False
    )
    for name in _LIBRARY.findall(done.stdout):
        yield Path(name)


def _python_base(address: str) -> str:
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = environ.get("DWCP_PYTHON_IMAGE", f"python:{minor}-slim-bookworm")
    if has_image(address, wanted):
        return wanted
    try:
        docker(address, "pull", wanted)
    except RuntimeError as error:
        sys.stderr.write(f"{error}\nmaking a base by debootstrap\n")
        return _debootstrapped(address)
    return wanted


def _debootstrapped(address: str) -> str:
    if has_image(address, BASE_IMAGE):
        return BASE_IMAGE
    if sys.version_info[:2] != (3, 11) or shutil.which("debootstrap") is None:
        sys.exit("a base without a registry takes Python 3.11 (bookworm's own) and debootstrap")
    with tempfile.TemporaryDirectory(prefix="dwcp-base-") as name:
        root = Path(name) / "root"
        packages = "--include=python3,python3-venv,ca-certificates"
        make = ["debootstrap", "--variant=minbase", packages, "bookworm", str(root)]
        subprocess.run(make, check=True, stdout=sys.stderr)
        archive = Path(name) / "root.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(root, ".")
        docker(address, "import", str(archive), BASE_IMAGE)
    return BASE_IMAGE


if __name__ == "__main__":
    main()
