"""How commands name the node they ask, and what they show to get in."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")

URL: Final = "http://127.0.0.1:6066"

url_option = click.option(
    "--url", default=URL, show_default=True, help="The node's web address.", metavar="URL"
)


def access_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options of what to show, and hand them over as one `access`."""

    @functools.wraps(command)
    def wrapped(*args: Any, **options: Any) -> R:
        from dwcp.client import NodeAccess  # noqa: PLC0415 - `dwcp --help` stays fast

        shown = {name: options.pop(name) for name in ("token", "ca", "cert", "key")}
        return command(*args, access=NodeAccess(**shown), **options)

    path = click.Path(path_type=Path, dir_okay=False)
    for option in (
        click.option("--key", type=path, help="Its key."),
        click.option("--cert", type=path, help="Our certificate, instead of a token."),
        click.option("--ca", type=path, help="Authorities that the node's certificate may be of."),
        click.option("--token", envvar="DWCP_TOKEN", help="Token; better by $DWCP_TOKEN."),
    ):
        wrapped = option(wrapped)
    return wrapped
