"""`dwcp deadletter`: list and show."""

import asyncio
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from dwcp.cli.kafka_option import kafka_options
from dwcp.cli.output import console, emit_json, json_option, reports_errors


@click.group(
    epilog="""\b
Examples:
  dwcp deadletter list --bootstrap 127.0.0.1:9092
  dwcp deadletter show dwcp.state/0/17/-1
"""
)
def deadletter() -> None:
    """List and show records that could not be handled."""


@deadletter.command(name="list")
@click.option("--limit", default=100, show_default=True, help="Newest letters to list.")
@json_option
@reports_errors
@kafka_options
def list_letters(client: dict[str, Any], limit: int, *, as_json: bool) -> None:
    """List the newest dead letters and count all by reason."""
    letters = asyncio.run(_read(client))
    reasons: dict[str, int] = {}
    for letter in letters.values():
        reasons[letter["reason"]] = reasons.get(letter["reason"], 0) + 1
    newest = list(letters.items())[-limit:]
    if as_json:
        rows = [{"id": name, **_plain(letter)} for name, letter in newest]
        emit_json({"count": len(letters), "reasons": reasons, "letters": rows})
        return
    table = Table(title=f"{len(letters):,} dead letters {reasons or ''}", title_justify="left")
    for name in ("id", "origin", "reason", "bytes", "detail"):
        table.add_column(name, overflow="fold")
    for name, letter in newest:
        size = f"{letter['value_bytes']:,}"
        table.add_row(
            name, letter["origin_region"], letter["reason"], size, escape(letter["detail"])
        )
    console.print(table)


@deadletter.command()
@click.argument("letter_id")
@json_option
@reports_errors
@kafka_options
def show(letter_id: str, client: dict[str, Any], *, as_json: bool) -> None:
    """Show one dead letter whole; its id is topic/partition/offset/change index."""
    letters = asyncio.run(_read(client))
    if letter_id not in letters:
        raise click.UsageError(f"there is no dead letter {letter_id}: see `dwcp deadletter list`")
    letter = _plain(letters[letter_id])
    if as_json:
        emit_json({"id": letter_id, **letter})
        return
    for name, value in letter.items():
        console.print(f"[bold]{name}[/]: {escape(str(value))}", soft_wrap=True)


async def _read(client: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Read all letters by id; one written twice counts once."""
    from connectors.kafka import KafkaLog  # noqa: PLC0415 - `dwcp --help` stays fast
    from streams.deadletters import read_dead_letter  # noqa: PLC0415
    from streams.topics import DEADLETTER  # noqa: PLC0415

    log = KafkaLog(client)
    try:
        start = (await log.start_offsets(DEADLETTER))[0]
        end = (await log.end_offsets(DEADLETTER))[0]
        found = await log.read(DEADLETTER, 0, start, end)
    finally:
        await log.close()
    return {
        (record.key or b"").decode(): read_dead_letter(record.value)
        for record in found.records
        if record.value is not None
    }


def _plain(letter: dict[str, Any]) -> dict[str, Any]:
    """Make bytes readable: as text where they are UTF-8, else as hex."""
    plain = {name: _text(value) for name, value in letter.items()}
    plain["headers"] = {h["name"]: _text(h["value"]) for h in letter["headers"]}
    return plain


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "hex:" + value.hex()
