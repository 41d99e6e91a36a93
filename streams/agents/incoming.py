"""What the receiver needs to take peers' logs in."""

from collections.abc import Callable
from dataclasses import dataclass

from connectors.log import Log
from schemas.registry import Record
from streams.agents.replica import Replica
from transport.aio.tls import LinkTls
from transport.session.events import Identity, LinkSettings
from transport.session.objects import ReceivedObject, Shelf


@dataclass(frozen=True, slots=True)
class Incoming:
    """What the receiver needs; see `streams.agents.outgoing.Outgoing`.

    Attributes:
        shelf: Where bulk objects stand until they are whole; None declines them.
        on_object: Told of every object that is whole.
        find: Returns a baseline that is held here, by its name.
        on_log_unit: Told region and unit of what comes in the log flow.
    """

    identity: Callable[[], Identity]
    settings: LinkSettings
    log: Log
    replica: Replica
    digest: Callable[[], Record]
    on_digest: Callable[[str, Record], None]
    tls: LinkTls | None = None
    shelf: Shelf | None = None
    on_object: Callable[[ReceivedObject], None] | None = None
    on_log_unit: Callable[[str, bytes], None] | None = None
    find: Callable[[int], bytes | None] = lambda _: None
