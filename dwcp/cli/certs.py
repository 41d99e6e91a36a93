"""`dwcp certs`: certificates of regions."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dwcp.cli.output import FAILED, console, emit_json, json_option, reports_errors

if TYPE_CHECKING:
    from dwcp.certs_x509 import Issued

DAYS_MAX: Final = 36_500

dir_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("certs"),
    show_default=True,
    help="Folder of the authority.",
)


def days_option(default: int) -> Callable[[Any], Any]:
    """Return the option for how long a certificate is good."""
    return click.option(
        "--days",
        type=click.IntRange(1, DAYS_MAX),
        default=default,
        show_default=True,
        help="How long it is good.",
    )


@click.group(
    epilog="""\b
Examples:
  dwcp certs init --cluster novacron
  dwcp certs issue --region eu-west
  dwcp certs rotate
  dwcp certs show --json
Each node gets ca.pem, its region's .pem and .key; ca.key stays with you.
"""
)
def certs() -> None:
    """Make, renew and show the certificates of links."""


@certs.command(
    epilog="""\b
Example:
  dwcp certs init --cluster novacron --dir certs
"""
)
@dir_option
@click.option("--cluster", default="novacron", show_default=True, help="As in the configuration.")
@days_option(3_650)
@json_option
@reports_errors
def init(folder: Path, cluster: str, days: int, *, as_json: bool) -> None:
    """Make an authority: ca.pem, which all nodes trust, and ca.key."""
    from dwcp.certs import Authority  # noqa: PLC0415 - `dwcp --help` stays fast

    _tell([Authority(folder).init(cluster, days)], as_json=as_json)


@certs.command(
    epilog="""\b
Examples:
  dwcp certs issue --region eu-west
  dwcp certs issue --region eu-west --node eu-west-2 --days 30
  dwcp certs issue --region eu-west --host eu-west.example.com --host 10.0.1.1
  dwcp certs issue --client dashboard --right read
"""
)
@dir_option
@click.option("--region", help="Whose certificate, for its links.")
@click.option("--node", default="", help="For this node only; default: any of the region.")
@click.option("--host", "hosts", multiple=True, help="Where its web server is asked, for HTTPS.")
@click.option("--client", help="Or a client of the web server.")
@click.option(
    "--right",
    "rights",
    multiple=True,
    type=click.Choice(["read", "write"]),
    help="What that client may do.",
)
@days_option(90)
@json_option
@reports_errors
def issue(folder: Path, days: int, *, as_json: bool, **who: Any) -> None:
    """Issue a region's certificate and key, or a client's."""
    from dwcp.certs import Authority  # noqa: PLC0415
    from streams.web.access import Right  # noqa: PLC0415

    region, client, rights = who["region"], who["client"], who["rights"]
    if (region is None) == (client is None) or bool(rights) != (client is not None):
        raise click.UsageError("give either --region, or --client and --right")
    authority = Authority(folder)
    if client is None:
        issued = authority.issue(region, who["node"], days=days, hosts=who["hosts"])
    else:
        issued = authority.issue_client(client, map(Right, rights), days=days)
    _tell([issued], as_json=as_json)


@certs.command(
    epilog="""\b
Examples:
  dwcp certs rotate                     # all certificates, new keys
  dwcp certs rotate --region eu-west
  dwcp certs rotate --authority         # 1. trust a new authority beside the old one
  dwcp certs rotate                     # 2. when all nodes have the new ca.pem
  dwcp certs rotate --drop-old          # 3. when all nodes have their new certificates
Running nodes notice changed files by themselves; sessions that stand go on.
"""
)
@dir_option
@click.option("--region", help="Only this region's.")
@click.option("--authority", is_flag=True, help="Make a new authority; ca.pem trusts both.")
@click.option("--drop-old", is_flag=True, help="Trust only the authority that issues.")
@click.option("--days", type=click.IntRange(1, DAYS_MAX), help="How long they are good.")
@json_option
@reports_errors
def rotate(
    folder: Path,
    region: str | None,
    days: int | None,
    *,
    authority: bool,
    drop_old: bool,
    as_json: bool,
) -> None:
    """Renew certificates, or the authority."""
    from dwcp.certs import CA_DAYS, DAYS, Authority  # noqa: PLC0415

    if authority + drop_old + (region is not None) > 1:
        raise click.UsageError("give one of --region, --authority and --drop-old")
    chosen = Authority(folder)
    if authority:
        renewed = [chosen.rotate_authority(days or CA_DAYS)]
    elif drop_old:
        renewed = [chosen.drop_old()]
    else:
        renewed = chosen.rotate(region, days or DAYS)
    _tell(renewed, as_json=as_json)


@certs.command(
    epilog="""\b
Examples:
  dwcp certs show
  dwcp certs show --file /etc/dwcp/eu-west.pem --warn-days 14
"""
)
@dir_option
@click.option(
    "--file",
    "paths",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="These files instead of a folder's.",
)
@click.option("--warn-days", default=0, show_default=True, help="Exit 1 when one has less left.")
@json_option
@reports_errors
def show(folder: Path, paths: Sequence[Path], warn_days: int, *, as_json: bool) -> None:
    """Show certificates, and exit 1 when one has expired."""
    from dwcp.certs import Authority  # noqa: PLC0415
    from dwcp.certs_x509 import describe  # noqa: PLC0415

    found = [one for path in paths for one in describe(path)] or Authority(folder).issued()
    _tell(found, as_json=as_json)
    if any(one.days_left < warn_days for one in found):
        raise SystemExit(FAILED)


def _tell(found: Sequence["Issued"], *, as_json: bool) -> None:
    from rich.table import Table  # noqa: PLC0415

    table = Table("file", "names", "serial", "days left", box=None)
    for one in found:
        style = "red" if one.days_left < 0 else ""
        named = ", ".join(uri.removeprefix("dwcp://") for uri in one.uris)
        table.add_row(str(one.path), named, one.serial[:16], f"{one.days_left:,}", style=style)
    console.print(table)
    if as_json:
        emit_json({"certificates": [one.to_json() for one in found]})
