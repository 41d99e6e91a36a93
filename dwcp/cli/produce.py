"""`dwcp produce`: entity documents into a region."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dwcp.cli.kafka_option import kafka_options
from dwcp.cli.output import FAILED, console, emit_json, json_option, reports_errors


@click.command(
    epilog="""\b
Each line is {"time_ms", "entity", "type", "document"}; document null deletes.
Examples:
  dwcp produce --region eu-west --input vms.jsonl
  generate | dwcp produce --region eu-west --input - --json
"""
)
@click.option("--region", required=True, help="The region whose Kafka this is.")
@click.option("--input", "path", default="-", show_default=True, help="JSONL file, or - for stdin.")
@click.option(
    "--diff-mib",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Documents to remember, so that only what changed is written; 0: all is whole.",
)
@json_option
@reports_errors
@kafka_options
def produce(
    region: str, path: str, client: dict[str, Any], diff_mib: int, *, as_json: bool
) -> None:
    """Write entity documents (JSONL) into a region; done when all are durable."""
    result = asyncio.run(_produce(region, path, client, diff_mib))
    if as_json:
        emit_json(result)
    else:
        console.print(
            f"{result['stored']:,} changes stored in {result['seconds']} s, "
            f"{result['failed']:,} failed"
        )
        for text in result["errors"]:
            console.print(f"[red]{text}[/]")
    if result["failed"]:
        raise SystemExit(FAILED)


async def _produce(region: str, path: str, client: dict[str, Any], diff_mib: int) -> dict[str, Any]:
    from connectors.kafka import KafkaLog  # noqa: PLC0415 - `dwcp --help` stays fast
    from connectors.producer import (  # noqa: PLC0415
        STATE_TOPIC,
        ProducerSettings,
        StateProducer,
    )
    from dwcp.demo.inputs import read_jsonl  # noqa: PLC0415
    from schemas.ids import check_region  # noqa: PLC0415

    check_region("--region", region)
    log = KafkaLog(client)
    began = time.monotonic()
    outcome = _Outcome()
    try:
        partition_count = len(await log.end_offsets(STATE_TOPIC))
        producer = StateProducer(
            log,
            region=region,
            name=f"produce-{time.time_ns()}",
            partition_count=partition_count,
            settings=ProducerSettings(diff_bytes=diff_mib << 20),
        )
        async with producer:
            for item in outcome.bar(read_jsonl(path)):
                if item.document is None:
                    stored = await producer.delete(item.entity, entity_type=item.entity_type)
                else:
                    stored = await producer.put(
                        item.entity, item.document, entity_type=item.entity_type
                    )
                stored.add_done_callback(outcome.settle)
            await producer.flush()
    finally:
        await log.close()
    return outcome.to_json(time.monotonic() - began)


class _Outcome:
    """Counts what became of the changes and draws the bar."""

    def __init__(self) -> None:
        self.stored = 0
        self.failed = 0
        self.errors: list[str] = []

    def settle(self, stored: "asyncio.Future[Any]") -> None:
        """Note one change's end."""
        error = stored.exception()
        if error is None:
            self.stored += 1
            return
        self.failed += 1
        if len(self.errors) < 10:  # noqa: PLR2004 - enough to see what is wrong
            self.errors.append(str(error))

    def bar(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield the items under a progress bar."""
        columns = (TextColumn("changes"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("changes", total=None)
            for item in items:
                yield item
                progress.advance(task)

    def to_json(self, seconds: float) -> dict[str, Any]:
        """Return the counts."""
        return {
            "stored": self.stored,
            "failed": self.failed,
            "errors": self.errors,
            "seconds": round(seconds, 3),
        }
