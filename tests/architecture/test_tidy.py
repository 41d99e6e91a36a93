"""House rules that no linter checks, by `ast`.

An exemption is a line in a table here, with its reason beside it.
"""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.support.repository import (
    PACKAGES,
    committed_files,
    name_of,
    python_files,
    text_of,
    tree_of,
)

FUNCTION_LINES_MAX: Final = 60
MODULE_LINES_MAX: Final = 300
SOURCES: Final = python_files(*PACKAGES)
EVERYWHERE: Final = python_files(*PACKAGES, "tests", "benchmarks", "examples")
TESTS: Final = python_files("tests")

LONG_MODULES: Final[dict[str, str]] = {}
LONG_FUNCTIONS: Final[dict[str, str]] = {}
SLEEPERS: Final = {
    "tests/support/waiting.py": "the one place that waits, up to a deadline",
}
# Hosts that may be named in a URL: everybody's, or nobody's.
HOSTS: Final = {
    "127.0.0.1": "this machine",
    "www.apache.org": "the licence",
    "compute.example.com": "an example",
    "www.w3.org": "the name space of SVG",
}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_module_can_be_read_in_one_go() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    long = {name: lines for name, lines in lengths.items() if lines > MODULE_LINES_MAX}

    assert long.keys() == LONG_MODULES.keys(), f"more than {MODULE_LINES_MAX} lines: split by noun"


def test_every_function_fits_a_screen() -> None:
    long = {
        f"{name_of(path)}:{function.name}"
        for path in EVERYWHERE
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno >= FUNCTION_LINES_MAX
    }

    assert long == LONG_FUNCTIONS.keys(), f"more than {FUNCTION_LINES_MAX} lines"


def test_every_module_says_what_it_is() -> None:
    first_lines = {
        name_of(path): (ast.get_docstring(tree_of(path)) or "").partition("\n")[0]
        for path in SOURCES
    }
    silent = [name for name, line in first_lines.items() if not line.endswith((".", ":", "?"))]

    assert not silent, "begin with a docstring, its first line a sentence"


def is_broad(error: ast.expr | None) -> bool:
    return error is None or ast.unparse(error) in ("Exception", "BaseException")


def is_empty(step: ast.stmt) -> bool:
    is_constant = isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant)
    return is_constant or isinstance(step, ast.Pass | ast.Continue)


def swallows(node: ast.AST) -> bool:
    """Tell whether a broad `except` does nothing, or a `suppress` suppresses everything."""
    if isinstance(node, ast.ExceptHandler) and is_broad(node.type):
        return node.type is None or all(map(is_empty, node.body))
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        return any(map(is_broad, node.args))
    return False


def test_no_error_is_swallowed() -> None:
    found = [
        f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
        for path in EVERYWHERE
        for node in ast.walk(tree_of(path))
        if swallows(node)
    ]

    assert not found


def is_sleep(node: ast.AST) -> bool:
    """Tell whether a call lets time pass; `asyncio.sleep(0)` only lets others run."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "sleep")
        and [ast.unparse(argument) for argument in node.args] != ["0"]
    )


def test_no_test_sleeps() -> None:
    found = {name_of(path) for path in TESTS if any(map(is_sleep, ast.walk(tree_of(path))))}

    assert found == SLEEPERS.keys(), "wait for what you mean: tests.support.waiting.until"


def test_nothing_of_the_machine_it_was_written_on_is_in_a_file() -> None:
    """Absolute paths and package indexes belong to a machine, not to the repository."""
    homes = re.compile(r"(?<![\w.})/])/(work|root|home|opt|srv|mnt|Users)/[\w.]")
    indexes = [host for name, value in os.environ.items() if (host := index_host(name, value))]
    found = []
    for path in committed_files():
        for number, line in enumerate(text_of(path).splitlines(), start=1):
            if path == Path(__file__):
                continue
            if homes.search(line) or any(host in line for host in indexes):
                found.append(f"{name_of(path)}:{number}: {line.strip()[:100]}")

    assert not found


def index_host(name: str, value: str) -> str:
    """Return the host of a package index that the environment names; public ones count, too."""
    is_index = any(word in name.upper() for word in ("INDEX_URL", "PROXY", "REGISTRY", "MIRROR"))
    return (urlsplit(value).hostname or "") if is_index else ""


def test_every_host_in_a_url_is_everybody_s_or_nobody_s() -> None:
    hosts = re.compile(r"https?://\[?([A-Za-z0-9.-]+)")
    found = {
        f"{name_of(path)}: {host}"
        for path in committed_files()
        for host in hosts.findall(text_of(path))
        if host not in HOSTS
    }

    assert found == set()
