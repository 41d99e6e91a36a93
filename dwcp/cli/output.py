"""How every command speaks: tables for people on stderr, one JSON object for machines on stdout.

Exit codes: 0 done, 1 the command's own verdict is bad, 2 wrong use, 3 an error of ours.
"""

import functools
import json
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.markup import escape

from schemas.errors import DwcpError

P = ParamSpec("P")
R = TypeVar("R")

FAILED: Final = 1
ERROR: Final = 3

console = Console(stderr=True, highlight=False)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Write one JSON object to stdout, for machines."
)


def emit_json(value: dict[str, Any]) -> None:
    """Write the one JSON object of a command, as the last line of stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))


def fail(error: DwcpError, *, as_json: bool) -> NoReturn:
    """Report an error and exit."""
    if as_json:
        emit_json({"error": {"reason": error.reason, "message": str(error)}})
    console.print(f"[bold red]{error.reason}[/]: {escape(str(error))}", soft_wrap=True)
    sys.exit(ERROR)


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn errors of ours into a message and an exit code; for functions with `as_json`."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except DwcpError as error:
            fail(error, as_json=bool(kwargs.get("as_json")))
        except Exception as error:  # a bug of ours: its trace for people, one object for machines
            if kwargs.get("as_json"):
                emit_json({"error": {"reason": type(error).__name__, "message": str(error)}})
            raise

    return wrapped
