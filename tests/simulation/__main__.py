"""Command: `python -m tests.simulation`, as `make simulate` and `make mutants` call it."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from typing import Any, TypeVar

import click
from rich.progress import Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dwcp.cli.output import console, emit_json, json_option
from tests.simulation.federation import Report, run_schedule
from tests.simulation.flows import FlowReport, run_flow
from tests.simulation.mutants import MUTANTS, Verdict, hunt

T = TypeVar("T")
R = TypeVar("R")


@click.command()
@click.option("--schedules", type=click.IntRange(1), default=200, help="Schedules, or per mutant.")
@click.option("--seed", type=click.IntRange(0), default=1, help="Of the first; the rest follow.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, help="Processes.")
@click.option("--mutants", is_flag=True, help="Break the cores; every mutant has to be noticed.")
@json_option
def main(*, schedules: int, seed: int, jobs: int, mutants: bool, as_json: bool) -> None:
    """Run federations of three regions on a virtual network, each from one seed."""
    seeds = range(seed, seed + schedules)
    verdict = check_mutants(seeds, jobs) if mutants else check_schedules(seeds, jobs)
    if as_json:
        emit_json(verdict)
    sys.exit(1 if verdict["violations"] or verdict.get("survived") else 0)


def check_schedules(seeds: range, jobs: int) -> dict[str, Any]:
    """Run schedules with the cores as they are, and report."""
    began = time.monotonic()
    reports = run_all("schedules", seeds, jobs)
    seconds = time.monotonic() - began
    faults = Counter(fault for report in reports for fault in report.faults)
    steps = sum(report.steps for report in reports)
    console.print(
        f"{len(seeds):,} schedules, {steps:,} steps, {sum(r.records for r in reports):,} records, "
        f"{faults.total():,} faults in {seconds:.1f} s: {len(seeds) / seconds:.1f} schedules/s"
    )
    failures = [failure(report) for report in reports if report.check]
    for one in failures:
        console.print(f"seed {one['seed']}: {one['what']}", markup=False, style="red")
        console.print(f"  replay: {one['replay']}", markup=False)
    if len(reports) == 1:
        console.print(f"faults: {', '.join(reports[0].faults)}")
    return {
        "schedules": len(seeds),
        "steps": steps,
        "violations": len(failures),
        "seconds": round(seconds, 3),
        "schedules_per_s": round(len(seeds) / seconds, 1),
        "records": sum(report.records for report in reports),
        "faults": dict(sorted(faults.items())),
        "failures": failures,
    }


def check_mutants(seeds: range, jobs: int) -> dict[str, Any]:
    """Run every mutant until it is killed, then the clean cores on all seeds that were needed."""
    began = time.monotonic()
    hunted = tracked("mutants", partial(hunt, seeds=seeds), MUTANTS, jobs)
    verdicts = sorted(hunted, key=lambda verdict: MUTANTS.index(verdict.mutant))
    needed = max(verdict.seeds_needed for verdict in verdicts)
    clean = run_all("clean cores, same seeds", seeds[:needed], jobs)
    flows = tracked("clean flows, same seeds", run_flow, seeds[:needed], jobs)
    survived = [verdict.mutant.name for verdict in verdicts if not verdict.killed_by]
    failures = [failure(report) for report in clean if report.check]
    failures += [failure(report) for report in flows if report.check]
    console.print(_table(verdicts))
    console.print(
        f"{len(verdicts) - len(survived)} of {len(verdicts)} mutants killed; the clean cores "
        f"pass {needed} seeds of federations and of flows with {len(failures)} failures"
    )
    return {
        "mutants": len(verdicts),
        "survived": survived,
        "clean_schedules": needed,
        "violations": len(failures),
        "seconds": round(time.monotonic() - began, 3),
        "rows": [
            {
                "mutant": verdict.mutant.name,
                "target": verdict.mutant.target,
                "killed_by": verdict.killed_by,
                "seed": verdict.seed,
                "seeds_needed": verdict.seeds_needed,
            }
            for verdict in verdicts
        ],
        "failures": failures,
    }


def failure(report: Report | FlowReport) -> dict[str, Any]:
    """Return what a machine has to know of a broken promise."""
    replay = f'make simulate ARGS="--schedules 1 --seed {report.seed}"'
    if isinstance(report, FlowReport):
        replay = f"tests.simulation.flows.run_flow({report.seed})"
    return {"seed": report.seed, "what": report.what, "replay": replay}


def run_all(title: str, seeds: range, jobs: int) -> list[Report]:
    """Run schedules, in the order of their seeds."""
    reports = tracked(title, run_schedule, seeds, jobs)
    return sorted(reports, key=lambda report: report.seed)


def tracked(title: str, work: Callable[[T], R], items: Iterable[T], jobs: int) -> list[R]:
    """Do work on all items in some processes, and show how far it is."""
    items = list(items)
    columns = (
        *Progress.get_default_columns()[:3],
        TimeRemainingColumn(),
        TextColumn("{task.completed}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=len(items))
        results = []
        for result in _spread(work, items, jobs):
            results.append(result)
            progress.advance(task)
    return results


def _spread(work: Callable[[T], R], items: list[T], jobs: int) -> Iterator[R]:
    if jobs == 1 or len(items) < 10:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(work, item) for item in items]):
            yield future.result()


def _table(verdicts: list[Verdict]) -> Table:
    table = Table("mutant", "killed by the check", "seeds", box=None)
    for verdict in verdicts:
        killed_by = verdict.killed_by or "[bold red]survived"
        table.add_row(verdict.mutant.name, killed_by, str(verdict.seeds_needed))
    return table


if __name__ == "__main__":
    main()
