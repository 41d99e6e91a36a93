"""`dwcp hde`: what the codecs make of a stream."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dwcp.cli.client import access_options, url_option
from dwcp.cli.output import console, emit_json, json_option, reports_errors

if TYPE_CHECKING:
    from dwcp.hde.events import Source

TABLE_WIDTH = 116  # also where there is no terminal
_TOPIC_EVENTS_MAX = 100_000
_AFTER = "after_first_sight_"


@click.group(
    epilog="""\b
Examples:
  dwcp hde bench --input documents.jsonl
  dwcp hde bench --stream synthetic-pod --events 20000 --json
  dwcp hde bench --blobs --repeats 5
  dwcp hde bench --input orders.avro --key customer.id
  dwcp hde bench --topic orders --schema order.avsc --bootstrap 127.0.0.1:9092
  dwcp hde stream vm --out vm.jsonl
  dwcp hde baseline --url http://127.0.0.1:6066
"""
)
def hde() -> None:
    """Measure how few bytes the link's codecs need."""


def stream_options(command: Any) -> Any:
    """Add what a named stream is made from."""
    for option in (
        click.option("--events", type=click.IntRange(min=1), help="Events; of an input, at most."),
        click.option("--entities", type=click.IntRange(min=1), help="Of a named stream."),
        click.option("--seed", default=1, show_default=True, help="Of a named stream."),
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            envvar="DWCP_DATA",
            help="Folder of the test data that vm, node and pod are made from.",
        ),
    ):
        command = option(command)
    return command


@hde.command()
@click.option("--input", "path", help="JSONL (.gz too), an Avro container file, or - for stdin.")
@click.option("--stream", help="vm, node, pod, synthetic-vm, synthetic-node or synthetic-pod.")
@click.option(
    "--key",
    help="Of records of any schema in a container: the field (dots inside) that is the key.  "
    "[default: none, all are one history]",
)
@click.option("--topic", help="A Kafka topic; reads what it holds now.")
@click.option(
    "--schema",
    "schemas",
    multiple=True,
    help="Of --topic: file with the Avro schema of its records; may be given again.",
)
@click.option("--bootstrap", default="127.0.0.1:9092", show_default=True, help="Of --topic.")
@click.option("--blobs", is_flag=True, help="Whole objects against an old copy, made from --seed.")
@click.option("--old", help="A file: the old copy of --new.")
@click.option("--new", help="A file: an object to encode against --old.")
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Passes; speeds are their median.",
)
@click.option(
    "--batch",
    "batches",
    multiple=True,
    type=click.Choice(["1", "2", "100", "500", "512 KiB"]),
    help="Events of a unit; may be given again.  [default: all]",
)
@stream_options
@json_option
@reports_errors
def bench(repeats: int, *, as_json: bool, **chosen: Any) -> None:
    """Encode an input with every level and every rival, decode it, compare every byte."""
    from dwcp.hde.bench import run_bench  # noqa: PLC0415 - `dwcp --help` stays fast
    from dwcp.hde.lanes import BATCHES  # noqa: PLC0415

    if chosen["blobs"] or chosen["old"] or chosen["new"]:
        _bench_blobs(repeats, chosen, as_json=as_json)
        return
    source = _source(chosen)
    columns = (TextColumn("{task.completed:,} events"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("events", total=None)
        report = run_bench(
            source,
            repeats=repeats,
            progress=lambda count: bar.update(task, completed=count),
            batches=[int(one) if one.isdigit() else one for one in chosen["batches"]] or BATCHES,
        )
    wide = Console(stderr=True, highlight=False, width=max(console.width, TABLE_WIDTH))
    for name in ("rows", "first_snapshot"):
        wide.print(_table(name, report))
    if as_json:
        emit_json(report)


def _bench_blobs(repeats: int, chosen: dict[str, Any], *, as_json: bool) -> None:
    from dwcp.hde.blob_bench import run_blob_bench  # noqa: PLC0415
    from dwcp.hde.blobs import files_pair, made_pairs  # noqa: PLC0415

    old, new = chosen["old"], chosen["new"]
    if (old is None) != (new is None) or (chosen["blobs"] and old is not None):
        raise click.UsageError("give --blobs, or both --old and --new")
    pairs = made_pairs(chosen["seed"]) if old is None else iter([files_pair(old, new)])
    report = run_blob_bench(pairs, repeats=repeats, progress=console.print)
    wide = Console(stderr=True, highlight=False, width=max(console.width, TABLE_WIDTH))
    wide.print(_blob_table(report["rows"]))
    if as_json:
        emit_json(report)


def _blob_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None)
    table.add_column("object")
    table.add_column("codec")
    for column in ("bytes", "ratio", "encode MB/s", "name known", "decode MB/s"):
        table.add_column(column, justify="right")
    for row in rows:
        cells = [
            f"{row['encoded_bytes']:,}",
            f"{row['ratio']:,.1f}",
            f"{row['encode_mb_s']:,.0f}",
            f"{row['named_mb_s']:,.0f}" if "named_mb_s" in row else "",
            f"{row['decode_mb_s']:,.0f}",
        ]
        table.add_row(row["name"], row["level"], *cells, style="" if row["rival"] else "bold")
    for row in rows:
        if "choose_of_sending" in row:
            table.caption = (
                f"{row['name']}: finding out that nothing helps took "
                f"{row['choose_of_sending']:.1%} of the CPU of sending it over loopback TCP; "
                f"encoding {row['named_of_sending']:.1%}, "
                f"with the hash of its content {row['encode_of_sending']:.1%}"
            )
    return table


@hde.command()
@click.option("--list", "is_list", is_flag=True, help="Only show what the node holds.")
@url_option
@access_options
@json_option
@reports_errors
def baseline(url: str, access: Any, *, is_list: bool, as_json: bool) -> None:
    """Let a node make a baseline now, and ship it to its peers."""
    from dwcp.client import get_json, post_json  # noqa: PLC0415

    made = {} if is_list else asyncio.run(post_json(url, "/baselines", {}, access))
    found = made | asyncio.run(get_json(url, "/baselines", access))
    table = Table(box=None)
    for name in ("name", "region", "node", "bytes", "hits"):
        table.add_column(name)
    for one in found["held"]:
        table.add_row(*(str(one[column.header]) for column in table.columns))
    console.print(table)
    if as_json:
        emit_json(found)


@hde.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JSONL to write.")
@stream_options
@json_option
@reports_errors
def stream(name: str, out: Path, *, as_json: bool, **chosen: Any) -> None:
    """Write a named stream as JSONL, for `dwcp demo --input` and others."""
    import hashlib  # noqa: PLC0415

    from dwcp.hde.events import json_line  # noqa: PLC0415
    from dwcp.hde.streams import open_stream  # noqa: PLC0415
    from schemas.changes import dump_document  # noqa: PLC0415

    made = open_stream(name, _plan(chosen))
    digest, count = hashlib.sha256(), 0
    with out.open("wb") as file:
        for item in made.items:
            text = None if item.document is None else dump_document(item.document)
            line = json_line(item, text) + b"\n"
            digest.update(line)
            file.write(line)
            count += 1
    found = {"stream": name, "events": count, "sha256": digest.hexdigest()}
    if made.dice is not None:
        found["floor_bytes"] = round(made.dice.bits / 8)
    console.print(f"{count:,} events, sha256 {found['sha256']}")
    if as_json:
        emit_json(found)


def _source(chosen: dict[str, Any]) -> "Source":
    from dwcp.hde.events import stream_source  # noqa: PLC0415
    from dwcp.hde.inputs import file_source, topic_source  # noqa: PLC0415
    from dwcp.hde.streams import open_stream  # noqa: PLC0415

    named = {name: chosen[name] for name in ("path", "stream", "topic") if chosen[name]}
    if len(named) != 1:
        raise click.UsageError("give one of --input, --stream and --topic")
    for option, needed in (("key", "path"), ("schemas", "topic")):
        if chosen[option] and needed not in named:
            raise click.UsageError("--key belongs to --input, --schema to --topic")
    if "path" in named:
        return file_source(named["path"], chosen["events"], chosen["key"])
    if "topic" in named:
        count = chosen["events"] or _TOPIC_EVENTS_MAX
        return topic_source(chosen["bootstrap"], named["topic"], count, chosen["schemas"])
    plan = _plan(chosen)
    name = named["stream"]
    open_stream(name, plan)  # a wrong name is told before anything runs
    return stream_source(lambda: open_stream(name, plan), name)


def _plan(chosen: dict[str, Any]) -> Any:
    from dwcp.hde.streams import DATA, ENTITY_COUNT, EVENT_COUNT, Plan  # noqa: PLC0415

    return Plan(
        chosen["entities"] or ENTITY_COUNT,
        chosen["events"] or EVENT_COUNT,
        chosen["seed"],
        chosen["data"] or DATA,
    )


def _table(name: str, report: dict[str, Any]) -> Table:
    """Draw rows; our own levels bold."""
    titles = {"rows": "all events", "first_snapshot": "first sight of every entity only"}
    title = f"{report['input']}: {titles[name]}; sha256 {report['sha256'][:16]}"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("batch", justify="right")
    table.add_column("codec")
    columns = ["B/event", "x raw", "x JSON", "known B", "x zstd-3", "encode/s", "decode/s"]
    rows = report[name]
    has_floor = any("times_floor" in row for row in rows)
    for column in [*columns, *(["x floor"] if has_floor else [])]:
        table.add_column(column, justify="right")
    for row in rows:
        # Where there are such: the figures after the first sight of the entities.
        known = f"{_AFTER}bytes_per_event" in row
        pre = _AFTER if known else ""
        cells = [
            str(row["batch"]),
            row["level"],
            f"{row['bytes_per_event']:,.1f}",
            f"{row['ratio']:,.1f}",
            f"{row['json_ratio']:,.1f}",
            f"{row[pre + 'bytes_per_event']:,.1f}" if known else "",
            f"{row[pre + 'fewer_than_zstd_3']:,.1f}",
            f"{row['encode_events_per_s']:,}",
            f"{row['decode_events_per_s']:,}",
        ]
        cells += [f"{row[pre + 'times_floor']:.2f}"] if has_floor else []
        table.add_row(*cells, style="" if row["rival"] else "bold")
    table.caption = "known B, x zstd-3, x floor: after the first sight of the entities, if it ended"
    return table
