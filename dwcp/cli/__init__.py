"""The `dwcp` command: one module per command, imported only when it is called."""

import importlib
from typing import Final

import click

import dwcp

_COMMANDS: Final = {
    "config": "Show or check a region's configuration.",
    "deadletter": "List and show records that could not be handled.",
    "demo": "Three regions on this machine: write, cut, converge, compare.",
    "kafka": "Start, stop and look at a broker of our own.",
    "produce": "Write entity documents (JSONL) into a region.",
    "region": "Run one region's node.",
    "state": "Get, watch or dump a region's state.",
    "status": "Show nodes and their links.",
}


class _Lazy(click.Group):
    """Knows the commands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"dwcp.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=_Lazy, epilog="Start with: dwcp demo")
@click.version_option(dwcp.__version__)
def main() -> None:
    """Cross-region state replication for Kafka."""
