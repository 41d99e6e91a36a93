"""How commands name a region's Kafka and get into it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

R = TypeVar("R")

BOOTSTRAP = "127.0.0.1:9092"


def kafka_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options that say which Kafka, and hand them over as `client`: aiokafka's settings."""

    @functools.wraps(command)
    def wrapped(*args: Any, bootstrap: str | None, config_path: Path | None, **options: Any) -> R:
        return command(*args, client=_client(bootstrap, config_path), **options)

    wrapped = click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A region's YAML: its Kafka, with what gets us in.",
    )(wrapped)
    return click.option("--bootstrap", help=f"The region's Kafka; default {BOOTSTRAP}.")(wrapped)


def _client(bootstrap: str | None, config_path: Path | None) -> dict[str, Any]:
    if config_path is None:
        return {"bootstrap_servers": bootstrap or BOOTSTRAP}
    from dwcp.config import load_config  # noqa: PLC0415 - `dwcp --help` stays fast
    from dwcp.securing import kafka_client  # noqa: PLC0415

    client = kafka_client(load_config(config_path).kafka)
    return client | ({"bootstrap_servers": bootstrap} if bootstrap else {})
