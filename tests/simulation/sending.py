"""The shipping side of a link: `streams.agents.sender` without sockets and event loop."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from connectors.log import RecordRange
from connectors.memory import cut_range
from schemas.errors import (
    DwcpError,
    LinkClosedError,
)
from streams import topics
from streams.replication import encode_batch
from tests.simulation.network import Wire
from tests.simulation.objects import content_of
from tests.simulation.striping import Seat, SendWires
from transport.amst.objects import OutgoingObject
from transport.amst.ranges import RangeSet
from transport.amst.traffic import Traffic
from transport.session.control import STATE_FLOW
from transport.session.events import (
    Acked,
    Established,
    Event,
    HeartbeatDue,
    HeartbeatReceived,
    ObjectTaken,
    PeerLeft,
    Reported,
    Rewound,
    Wanted,
)
from transport.session.objects import OutgoingObjects
from transport.session.outbound import OutboundSession

if TYPE_CHECKING:
    from tests.simulation.region import Node

BACKOFF_MS = (20.0, 40.0, 80.0, 160.0)


def thing_for(source: str, target: str, number: int) -> OutgoingObject:
    """Return an object that one region ships to another: the same in every life of a node."""
    label = f"{source} to {target}, {number}"
    size = Random(label).randrange(1, 4_000) if number else 0
    return OutgoingObject(b"%016d" % number, label, content_of(label, size), 512)


class Sender:
    """One peer's sender: one session after the other."""

    def __init__(self, node: "Node", peer: str) -> None:
        self.node = node
        self.peer = peer
        self._failures = 0
        self.objects = [thing_for(node.region.name, peer, number) for number in range(2)]
        self.shipping: Shipping | None = None

    def dial(self) -> None:
        """Begin a session."""
        self.shipping = Shipping(self)

    def wake(self) -> None:
        """Ship, if there is something to ship."""
        if self.shipping is not None:
            self.shipping.wake()

    def die(self) -> None:
        """Let the kernel reset what is open."""
        if self.shipping is not None:
            self.shipping.is_over = True
            self.shipping.hang_up(Wire.reset)

    def ended(self) -> None:
        """Try again after a while."""
        self.shipping = None
        pause_ms = BACKOFF_MS[min(self._failures, len(BACKOFF_MS) - 1)]
        self._failures += 1
        self.node.world.timeline.after(
            pause_ms, lambda: None if self.node.is_dead or self.shipping else self.dial()
        )

    def settled(self) -> None:
        """Forget failures: a session stands."""
        self._failures = 0


class Shipping:
    """One session.

    Attributes:
        at: Next offset to ship, by partition.
        skip_count: Records still to be left out, as only a bug would.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.wires: SendWires | None = None
        self._objects: OutgoingObjects | None = None
        self._node = sender.node
        self._world = sender.node.world
        self.is_over = False
        now_ns = self._world.timeline.now_ns
        self.session = OutboundSession(
            self._node.identity, sender.peer, self._world.profile.settings, now_ns
        )
        self.at: dict[int, int] = {}
        self.skip_count = 0
        self._cursors: dict[int, int] = {}
        self._is_rewound = False
        self._is_busy = False
        self._unit = b""
        self._control = self._dial()
        self._control.on_open = self._flush
        self._control.on_data = self._heard
        self._arm()

    def wake(self) -> None:
        """Plan to ship unless that is planned, or impossible, already."""
        if self.wires is not None and not self._is_busy and not self.is_over:
            self._is_busy = True
            self._node.later(self._ship)

    def hang_up(self, how: Callable[[Wire], None]) -> None:
        """End all connections."""
        how(self._control)
        if self.wires is not None:
            self.wires.hang_up(how)

    def _dial(self) -> Wire:
        wire = self._world.network.dial(self._node.region.name, self._sender.peer)
        wire.on_close = lambda: self.end(LinkClosedError("the peer closed the connection"))
        return wire

    def end(self, error: DwcpError) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._world.checker.on_error(f"{self._node.region.name} to {self._sender.peer}", error)
        self.session.say_goodbye("the simulation stops or starts over")
        self._flush()
        self.hang_up(Wire.close)
        self._sender.ended()

    def _guarded(self, action: Callable[[], None]) -> None:
        if self.is_over:
            return
        try:
            action()
        except DwcpError as error:
            self.end(error)
        else:
            self._flush()

    def _flush(self) -> None:
        self._control.write(self.session.control_to_send())

    def _arm(self) -> None:
        self._world.timeline.at(self.session.next_timer_ns(), lambda: self._guarded(self._on_timer))

    def _on_timer(self) -> None:
        now_ns = self._world.timeline.now_ns
        if now_ns >= self.session.next_timer_ns():
            for event in self.session.handle_timer(now_ns):
                self._handle(event)
        self._arm()

    def _heard(self, data: bytes) -> None:
        now_ns, wall_ms = self._world.timeline.now_ns, self._node.region.wall_ms()

        def receive() -> None:
            for event in self.session.receive_control(data, now_ns, wall_ms):
                self._handle(event)

        self._guarded(receive)

    def _handle(self, event: Event) -> None:
        match event:
            case Established():
                self.at = dict(event.cursors)
                self._sender.settled()
                self._arm()  # heartbeats begin
                self._open_streams()
            case Acked(cursors=cursors):
                self._world.checker.on_acked(self._node.region.name, self._sender.peer, cursors)
                self.wake()
            case Rewound(cursors=cursors):
                self._cursors = dict(cursors)
                self._is_rewound = True
                self.wake()
            case HeartbeatDue():
                digest = self._node.gossip.digest()
                wall_ms = self._node.region.wall_ms()
                self.session.send_heartbeat(digest, wall_ms, self._world.timeline.now_ns)
            case HeartbeatReceived(digest=digest):
                if digest is not None:
                    found = self._node.gossip.hear(self._sender.peer, digest)
                    self._world.checker.on_gossip(self._node.region.name, found)
            case PeerLeft(text=text):
                raise LinkClosedError(f"the peer said goodbye: {text}")
            case Reported() | Wanted() | ObjectTaken():
                self._handle_data(event)

    def _handle_data(self, event: Reported | Wanted | ObjectTaken) -> None:
        assert self.wires is not None, "an answer before a question"
        assert self._objects is not None, "streams come with objects"
        match event:
            case Reported(reports=reports):
                for report in reports:
                    now_ns = self._world.timeline.now_ns
                    self.wires.scheduler.on_report(
                        report.flow, report.before, report.ranges, now_ns
                    )
            case Wanted():
                self.wires.held[event.flow] = RangeSet(event.held)
                self._objects.on_wanted(event)
            case ObjectTaken():
                self._objects.on_taken(event)
        for flow, done in self._objects.sums_due():  # also when the peer had all of it
            self.session.tell_sum(flow, done.sum())
        self.wires.kick()

    def _open_streams(self) -> None:
        target = self._node.dice.randint(1, 4)
        world = self._world
        seat = Seat(
            self._node.region.name,
            self._sender.peer,
            self._node.dice,
            world.checker,
            world.network,
            world.timeline,
            world.profile.lag_ms,
        )
        self.wires = SendWires(self.session, seat, target, self.end)
        self._objects = OutgoingObjects(self.session, self.wires.scheduler, self._sender.objects)
        self._objects.offer()
        self.wake()

    def _ship(self) -> None:
        self._is_busy = False
        if self.is_over or self.wires is None:
            return
        if self._is_rewound:
            self._is_rewound = False
            self.session.begin_epoch()
            self.at = dict(self._cursors)
        if not self.session.has_credit:
            return  # an acknowledgement wakes us
        ranges = self._next_ranges()
        if ranges:
            raw = encode_batch(ranges, topics.SHIPPED_BYTES_MAX)
            self._unit = self.session.encode_unit(raw)
            self._world.checker.on_unit_sent(len(raw))
            self._is_busy = True
            # The real one encodes in a thread: meanwhile we may be sent back.
            self._node.later(self._submit)

    def _submit(self) -> None:
        if not self.is_over and self.wires is not None:
            self.wires.scheduler.submit(STATE_FLOW, Traffic.STATE, self._unit)
            self.wires.kick()
            self._world.timeline.after(self._world.profile.flush_ms, self._rest)

    def _rest(self) -> None:
        self._is_busy = False
        self.wake()

    def _next_ranges(self) -> list[RecordRange]:
        """Read what comes next of some or all partitions, as a tail gives it."""
        ranges: list[RecordRange] = []
        for partition in self.at:
            if not ranges or self._node.dice.random() < 0.7:
                end = self._node.region.cluster.offsets(topics.STATE)[partition][1]
                self._skip(partition, end)
                at = self.at[partition]
                full = self._node.region.cluster.read(topics.STATE, partition, at, end)
                if at < end:
                    ranges.append(cut_range(full, self._world.profile.batch_bytes_max))
                    self.at[partition] = ranges[-1].to_offset
        return ranges

    def _skip(self, partition: int, end: int) -> None:
        """Leave records out if a later one will show that there is a hole."""
        if 0 < self.skip_count < end - self.at[partition]:
            self.at[partition] += self.skip_count
            self.skip_count = 0
            self._world.checker.refusals_allowed += 1
