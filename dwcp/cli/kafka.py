"""`dwcp kafka`: one broker of our own in the background: up, down, status."""

import asyncio
import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.markup import escape

from dwcp.cli.output import console, emit_json, json_option, reports_errors
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from connectors.embedded.detached import BrokerStatus

PORT: Final = 9092
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@click.group()
def kafka() -> None:
    """Start, stop and look at a broker of our own.

    Apache Kafka, one node, on 127.0.0.1 only, without authentication: for trying and developing.
    The first start fetches Kafka's jars (44 MB) into your cache folder; Java comes along.
    """


def _with_place(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which broker is meant."""
    name = click.option(
        "--name", default="default", show_default=True, help="Which broker, if you have several."
    )
    folder = click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Its folder; kafka/NAME in DWCP's folder of your data if not given.",
    )
    return name(folder(command))


@kafka.command(
    epilog="""\b
Examples:
  dwcp kafka up
  dwcp kafka up --name second --port 9192 --json
"""
)
@_with_place
@click.option("--port", type=click.IntRange(1, 65_535), help=f"Where clients come in; {PORT}.")
@json_option
@reports_errors
def up(name: str, data_dir: Path | None, port: int | None, *, as_json: bool) -> None:
    """Start a broker that goes on when this command has ended; no harm if it runs.

    What was written in earlier runs is there again.
    """
    from connectors.embedded.detached import find_detached, start_detached  # noqa: PLC0415
    from connectors.embedded.host import require_free_port  # noqa: PLC0415
    from dwcp.cli.jars import fetch_jars  # noqa: PLC0415

    place = _Place.of(name, data_dir)
    found = asyncio.run(find_detached(place.data_dir))
    is_started = not found.is_running
    if is_started:
        require_free_port(port or PORT)  # before 44 MB are fetched in vain
        fetch_jars()
        with console.status("starting Kafka"):
            found = asyncio.run(start_detached(place.data_dir, port=port or PORT))
    elif port is not None and found.port not in {None, port}:
        remedy = f"the broker {name!r} runs already on port {found.port}; take it down first"
        raise ConfigError("--port", port, remedy)
    _report(place, found, as_json=as_json, more={"started": is_started})


@kafka.command(epilog="Example: dwcp kafka down")
@_with_place
@json_option
@reports_errors
def down(name: str, data_dir: Path | None, *, as_json: bool) -> None:
    """Stop the broker and keep its data; no harm if it does not run."""
    from connectors.embedded.detached import stop_detached  # noqa: PLC0415

    place = _Place.of(name, data_dir)
    is_stopped = asyncio.run(stop_detached(place.data_dir))
    if as_json:
        emit_json({"name": name, "stopped": is_stopped, "data_dir": str(place.data_dir)})
    else:
        said = "stopped" if is_stopped else "does not run"
        _say(f"broker {escape(name)} {said}; data in {escape(str(place.data_dir))}")


@kafka.command(epilog="Example: dwcp kafka status --json")
@_with_place
@json_option
@reports_errors
def status(name: str, data_dir: Path | None, *, as_json: bool) -> None:
    """Say whether the broker runs, where clients find it, and what it takes."""
    from connectors.embedded.detached import find_detached  # noqa: PLC0415

    place = _Place.of(name, data_dir)
    _report(place, asyncio.run(find_detached(place.data_dir)), as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Place:
    """A broker's name and folder."""

    name: str
    data_dir: Path

    @classmethod
    def of(cls, name: str, data_dir: Path | None) -> "_Place":
        from connectors.embedded.host import data_folder  # noqa: PLC0415

        if not _NAME.fullmatch(name):
            raise ConfigError("--name", name, "letters, digits, '.', '_' and '-', 64 at most")
        return cls(name, (data_dir or data_folder() / "kafka" / name).resolve())


def _report(
    place: _Place, found: "BrokerStatus", *, as_json: bool, more: dict[str, Any] | None = None
) -> None:
    if as_json:
        uptime_s = None if found.uptime_s is None else round(found.uptime_s, 1)
        emit_json(
            {
                "name": place.name,
                "running": found.is_running,
                "ready": found.is_ready,
                "bootstrap": found.bootstrap,
                "pid": found.pid,
                "resident_bytes": found.resident_bytes,
                "uptime_s": uptime_s,
                "version": found.kafka_version,
                "data_dir": str(place.data_dir),
                **(more or {}),
            }
        )
        return
    title, folder = escape(f"broker {place.name}"), escape(str(place.data_dir))
    if not found.is_running:
        _say(f"{title} does not run; data in {folder}")
    elif found.pid is None:
        _say(f"{title} is starting, or runs as another user; data in {folder}")
    else:
        state = "[green]ready[/]" if found.is_ready else "[red]not answering[/]"
        _say(
            f"{title}: {state} on {found.bootstrap}, Kafka {found.kafka_version}, "
            f"pid {found.pid}, {(found.resident_bytes or 0) >> 20} MiB, "
            f"up {found.uptime_s or 0:.0f} s; data in {folder}"
        )


def _say(text: str) -> None:
    console.print(text, soft_wrap=True)


@kafka.command(
    epilog="""\b
Examples:
  dwcp kafka acls --region eu-west --user dwcp-eu-west
  dwcp kafka acls --service --user billing | sh      # where kafka-acls.sh is at hand
"""
)
@click.option("--region", help="Of a node of this region.")
@click.option("--service", is_flag=True, help="Of a service that writes changes.")
@click.option("--user", required=True, help="Whom to allow.")
@json_option
@reports_errors
def acls(region: str | None, user: str, *, service: bool, as_json: bool) -> None:
    """Print the least rights that a node or a service needs in a Kafka with an authorizer.

    As lines for Kafka's own kafka-acls.sh; give it --bootstrap-server and --command-config by
    $KAFKA.
    """
    from streams.kafka_access import node_access, producer_access  # noqa: PLC0415

    if (region is None) != service:
        raise click.UsageError("give either --region or --service")
    wanted = producer_access() if region is None else node_access(region)
    if as_json:
        emit_json({"user": user, "acls": [dataclasses.asdict(one) for one in wanted]})
        return
    for one in wanted:
        operations = " ".join(f"--operation {name}" for name in one.operations)
        pattern = " --resource-pattern-type prefixed" if one.is_prefix else ""
        click.echo(
            f"kafka-acls.sh $KAFKA --add --allow-principal User:{user} {operations} "
            f"--{one.kind} {one.name}{pattern}"
        )
