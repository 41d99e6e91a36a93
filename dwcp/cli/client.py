"""How commands name the node they ask."""

from typing import Final

import click

URL: Final = "http://127.0.0.1:6066"

url_option = click.option(
    "--url", default=URL, show_default=True, help="The node's web address.", metavar="URL"
)
