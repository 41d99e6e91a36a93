"""The repository as files: what is, or is about to be, committed."""

import ast
import functools
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("dwcp", "streams", "connectors", "transport", "schemas")
_NOT_OURS: Final = {".venv", "__pycache__", ".git", "dist", "out"}


@functools.cache
def committed_files() -> tuple[Path, ...]:
    """Return all files but ignored ones; without git, all but the usual caches."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        found = [path for path in ROOT.rglob("*") if not _NOT_OURS & set(path.parts)]
    else:
        found = [ROOT / name for name in listed.stdout.splitlines()]
    return tuple(sorted(path for path in found if path.is_file()))


def python_files(*folders: str) -> list[Path]:
    """Return the modules below some folders of the repository."""
    return [
        path
        for path in committed_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders
    ]


def name_of(path: Path) -> str:
    """Return a path as people write it."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Parse a module, once."""
    return ast.parse(path.read_text(), str(path))


def text_of(path: Path) -> str:
    """Return a file's text, empty for one that is none."""
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""
