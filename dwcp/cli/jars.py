"""Kafka's jars with a progress bar, for every command that starts a broker."""

from rich.progress import Progress

from connectors.embedded.jars import ensure_jars
from dwcp.cli.output import console


def fetch_jars() -> None:
    """Fetch Kafka's jars with a bar on stderr; nothing is shown if all are there."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("fetching Kafka", total=None, visible=False)

        def show(done_count: int, total_count: int | None, what: str) -> None:
            progress.update(
                task,
                completed=done_count,
                total=total_count,
                visible=True,
                description=f"fetching Kafka: {what}",
            )

        ensure_jars(on_progress=show)
