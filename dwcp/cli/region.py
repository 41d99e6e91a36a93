"""`dwcp region`: run one region's node."""

import asyncio
import cProfile
import signal
import time
from pathlib import Path
from typing import Any

import click

from dwcp.cli.output import emit_json, json_option, reports_errors


@click.command(
    epilog="""\b
Examples:
  dwcp region --config eu-west.yaml
  dwcp region --config eu-west.yaml --bootstrap kafka.eu:9092
"""
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The region's YAML file; see docs/configuration.md.",
)
@click.option("--bootstrap", help="Use this Kafka instead of one of our own.")
@click.option(
    "--profile",
    type=click.Path(path_type=Path, dir_okay=False),
    help="At the end write where the time went (cProfile); slows the node by half.",
)
@click.option("--log-json", is_flag=True, help="Log JSON lines.")
@json_option
@reports_errors
def region(
    config_path: Path,
    bootstrap: str | None,
    profile: Path | None,
    *,
    log_json: bool,
    as_json: bool,
) -> None:
    """Run one region's node until SIGTERM or SIGINT."""
    from dwcp.config import load_config  # noqa: PLC0415 - `dwcp --help` stays fast
    from dwcp.logs import configure_logs  # noqa: PLC0415
    from transport.aio.loop import run  # noqa: PLC0415

    configure_logs(as_json=log_json)
    config = load_config(config_path)
    if bootstrap is not None:
        kafka = config.kafka.model_copy(update={"bootstrap": bootstrap})
        config = config.model_copy(update={"kafka": kafka})
    profiler = cProfile.Profile(time.thread_time)  # CPU of the main thread, not waiting
    if profile is not None:
        profiler.enable()
    status = run(_node_until_signal(config))
    if profile is not None:
        profiler.disable()
        profiler.dump_stats(profile)
    if as_json:
        emit_json(status)


async def _node_until_signal(config: Any) -> dict[str, Any]:
    from dwcp.wiring import RegionNode  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    node = RegionNode(config)
    await node.run(stop)
    return node.status()
