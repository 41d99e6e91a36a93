"""What both ends of a link share that run a node's own agents on logs in memory."""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace

import structlog

from benchmarks.link.encryption import CLUSTER, link_tls
from tests.support.links import Region

End = Callable[..., Coroutine[None, None, None]]


def node_region(name: str) -> Region:
    """Return a region with the bench's certificates."""
    region = Region(name)
    region.tls = link_tls(name)
    region.identity = replace(region.identity, cluster_id=CLUSTER)
    return region


def taking_region(host: str) -> tuple[Region, int]:
    """Return region `b`, which is to listen at an address of this host, and its port."""
    region = node_region("b")
    port = region.address.rpartition(":")[2]
    region.address = f"{host}:{port}"
    return region, int(port)


def run_end(take: End, give: End) -> None:
    """Run one end, as the command line says: `take` or `give`, and its words."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    role, *words = sys.argv[1:]
    asyncio.run(take(*words) if role == "take" else give(*words))
