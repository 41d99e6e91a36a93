"""TLS for both ends of a measurement: the same contexts for our link and for its rivals."""

import os
from pathlib import Path
from typing import Final

from dwcp.certs import Authority
from transport.aio.tls import LinkTls, TlsFiles

CLUSTER: Final = "bench"
VARIABLE: Final = "DWCP_BENCH_CERTIFICATES"  # a folder; workers encrypt if it is set


def make_certificates(folder: Path) -> None:
    """Make an authority and a certificate for each end."""
    authority = Authority(folder)
    authority.init(CLUSTER)
    for region in ("a", "b"):
        authority.issue(region)


def link_tls(region: str) -> LinkTls | None:
    """Return how this worker encrypts; None: not at all."""
    if VARIABLE not in os.environ:
        return None
    folder = Path(os.environ[VARIABLE])
    files = TlsFiles(folder / "ca.pem", folder / f"{region}.pem", folder / f"{region}.key")
    return LinkTls(files, CLUSTER, region)
