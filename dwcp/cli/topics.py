"""`dwcp topics`: what a human decides about topics that are not what they were."""

import asyncio
from typing import Any

import click

from dwcp.cli.kafka_option import kafka_options
from dwcp.cli.output import console, emit_json, json_option, reports_errors


@click.group(
    epilog="""\b
Examples:
  dwcp topics accept --region eu-west --partition 3 --bootstrap kafka.eu:9092
  dwcp topics accept --region eu-west --partition 3 --origin us-east --offset 0
"""
)
def topics() -> None:
    """Decide about topics that were cut, made anew, or overrun: see docs/log-trouble.md."""


@topics.command()
@click.option("--region", required=True, help="The region whose Kafka this is.")
@click.option("--partition", type=click.IntRange(min=0), required=True, help="In trouble.")
@click.option("--origin", help="Another region whose log goes on elsewhere.")
@click.option("--offset", type=click.IntRange(min=0), help="Next offset to want of its log.")
@json_option
@reports_errors
@kafka_options
def accept(
    region: str,
    partition: int,
    origin: str | None,
    offset: int | None,
    client: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """Go on with a partition's topics as they are: what is gone from them stays gone.

    Whoever holds the partition is shut out for a moment, and takes it again.
    """
    if (origin is None) != (offset is None):
        raise click.UsageError("give --origin and --offset together")
    skip = {} if origin is None or offset is None else {origin: offset}
    found = asyncio.run(_accept(client, region, partition, skip))
    if as_json:
        emit_json(found)
        return
    for name in ("before", "after"):
        console.print(f"{name}: {found[name]}", markup=False)


async def _accept(
    client: dict[str, Any], region: str, partition: int, skip: dict[str, int]
) -> dict[str, Any]:
    from connectors.kafka import KafkaLog  # noqa: PLC0415 - `dwcp --help` stays fast
    from streams.agents import acceptance  # noqa: PLC0415

    log = KafkaLog(client)
    try:
        return await acceptance.accept(log, region, partition, skip)
    finally:
        await log.close()
