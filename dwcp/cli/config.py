"""`dwcp config`: show and check."""

from pathlib import Path

import click

from dwcp.cli.output import console, emit_json, json_option, reports_errors

config_argument = click.argument("path", type=click.Path(path_type=Path, dir_okay=False))


@click.group(
    epilog="""\b
Examples:
  dwcp config check eu-west.yaml
  dwcp config show eu-west.yaml --json
"""
)
def config() -> None:
    """Show or check a region's configuration."""


@config.command()
@config_argument
@json_option
@reports_errors
def show(path: Path, *, as_json: bool) -> None:
    """Print the effective values, defaults included, and the fixed limits beside them."""
    import yaml  # noqa: PLC0415 - `dwcp --help` stays fast

    from dwcp.config import load_config  # noqa: PLC0415
    from dwcp.limits import LIMITS, limit_values  # noqa: PLC0415

    values = load_config(path).model_dump(mode="json")
    if as_json:
        emit_json({**values, "limits": limit_values()})
        return
    click.echo(yaml.safe_dump(values, sort_keys=False), nl=False)
    # Comments, so that what is shown can be used as a configuration.
    click.echo("# fixed limits")
    for name, limit in LIMITS.items():
        click.echo(f"# {name}: {limit.value:,}  {limit.meaning}")


@config.command()
@config_argument
@json_option
@reports_errors
def check(path: Path, *, as_json: bool) -> None:
    """Say whether the file can be used, and what is wrong with it."""
    from dwcp.config import load_config  # noqa: PLC0415

    checked = load_config(path)
    if as_json:
        emit_json({"ok": True, "region": checked.region, "shared_hash": checked.shared_hash})
    else:
        console.print(f"[green]ok[/]: region {checked.region}, peers {', '.join(checked.peers)}")
