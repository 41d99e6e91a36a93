"""The `dwcp` command: one module per command, imported only when it is called."""

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

import dwcp

_COMMANDS: Final = {
    "certs": "Make, renew and show the certificates of links.",
    "config": "Show or check a region's configuration.",
    "deadletter": "List and show records that could not be handled.",
    "demo": "Three regions on this machine: write, cut, converge, compare.",
    "hde": "Measure how few bytes the link's codecs need.",
    "kafka": "Start, stop and look at a broker of our own.",
    "link": "Show links and measure them.",
    "produce": "Write entity documents (JSONL) into a region.",
    "region": "Run one region's node.",
    "state": "Get, watch or dump a region's state.",
    "status": "Show nodes and their links.",
    "topics": "Decide about topics that are not what they were.",
}


class _Lazy(click.Group):
    """Knows the commands by name and imports the one that is called."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's signature
        **extra: Any,
    ) -> Any:
        """Run; a wrong use is one JSON object too, where `--json` was asked for."""
        try:
            done = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            return sys.exit(done) if standalone_mode else done
        except click.ClickException as error:
            if not standalone_mode:
                raise
            if "--json" in (sys.argv if args is None else args):
                reason = type(error).__name__
                text = {"error": {"reason": reason, "message": error.format_message()}}
                click.echo(json.dumps(text))
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            if not standalone_mode:
                raise
            sys.exit(130)  # Ctrl-C, as shells say it

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
