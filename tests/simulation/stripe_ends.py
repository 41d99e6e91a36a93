"""Both ends of a session whose data streams are under fire; see `tests.simulation.stripes`."""

from random import Random
from typing import TYPE_CHECKING, Final

from schemas.errors import DwcpError, LinkClosedError
from tests.simulation.network import Wire
from tests.simulation.striping import ReceiveWires, Seat, SendWires
from tests.simulation.timeline import Action
from tests.simulation.violation import Violation
from transport.amst.ranges import RangeSet
from transport.amst.reassembly import Reassembler, WholeUnit
from transport.amst.traffic import Traffic
from transport.hde.settings import FlowSettings
from transport.session.control import STATE_FLOW
from transport.session.events import (
    Acked,
    Established,
    Event,
    HeartbeatDue,
    HelloReceived,
    Identity,
    LinkSettings,
    ObjectTaken,
    Offered,
    Reported,
    SumKnown,
    Wanted,
)
from transport.session.handshake import Greeting, attached
from transport.session.inbound import InboundSession, flow_limits
from transport.session.objects import IncomingObjects, OutgoingObjects
from transport.session.outbound import OutboundSession

if TYPE_CHECKING:
    from tests.simulation.stripes import Stripes

UNITS: Final = 60
SETTINGS: Final = LinkSettings(
    heartbeat_ms=300,
    silence_ms=1_000,
    credit_bytes=3_000,
    unit_bytes_max=1 << 20,
    flow=FlowSettings(0),
)
GIVER: Final = Identity("stripes", "ams", "ams-1", "hash", 1)
KEEPER: Final = Identity("stripes", "iad", "iad-1", "hash", 1)


def unit_of(number: int) -> bytes:
    """Return the unit of a number: some small, some of several frames."""
    return b"%d " % number + Random(number).randbytes(number * 37 % 900)


class End:
    """What both ends share: a control connection and its timers."""

    session: OutboundSession | InboundSession

    def __init__(self, world: "Stripes", control: Wire) -> None:
        self.world = world
        self.control = control
        self.is_over = False
        control.on_data = self.hear
        control.on_close = self.end

    def guarded(self, action: Action) -> None:
        """Do something, and end when the link failed."""
        if self.is_over:
            return
        try:
            action()
        except LinkClosedError:
            self.end()
        except DwcpError as error:
            if error.is_retryable:
                self.end()
            else:
                raise Violation("nobody breaks the protocol", f"{error.reason}: {error}") from error
        else:
            self.control.write(self.session.control_to_send())

    def hear(self, data: bytes) -> None:
        """Take bytes of the control connection."""
        now_ns = self.world.timeline.now_ns

        def receive() -> None:
            for event in self.session.receive_control(data, now_ns, 0):
                self.handle(event)

        self.guarded(receive)

    def arm(self) -> None:
        """Wait for the next timer."""
        self.world.timeline.at(self.session.next_timer_ns(), lambda: self.guarded(self._on_timer))

    def handle(self, event: Event) -> None:
        """Do what an event asks for."""
        raise NotImplementedError

    def end(self) -> None:
        """End the session."""
        raise NotImplementedError

    def _on_timer(self) -> None:
        now_ns = self.world.timeline.now_ns
        if now_ns >= self.session.next_timer_ns():
            for event in self.session.handle_timer(now_ns):
                self.handle(event)
        self.arm()

    def beat(self) -> None:
        """Send a heartbeat."""
        self.session.send_heartbeat(None, 0, self.world.timeline.now_ns)


class Giver(End):
    """The sending end: encodes unit after unit, as credit allows."""

    session: OutboundSession

    def __init__(self, world: "Stripes") -> None:
        super().__init__(world, world.network.dial("ams", "iad"))
        self.session = OutboundSession(GIVER, "iad", SETTINGS, world.timeline.now_ns)
        self.wires: SendWires | None = None
        self._objects: OutgoingObjects | None = None
        self._next = 0
        self.control.on_open = lambda: self.guarded(lambda: None)
        self.arm()

    def handle(self, event: Event) -> None:
        """Do what an event asks for."""
        match event:
            case Established(cursors=cursors):
                self._open(cursors[0])
            case HeartbeatDue():
                self.beat()
            case Acked():
                self._fill()
            case Reported() | Wanted() | ObjectTaken():
                self._handle_data(event)

    def end(self) -> None:
        """End the session, and let the world begin another."""
        if not self.is_over:
            self.die()
            self.world.lost()

    def die(self) -> None:
        """Stop in the middle of everything."""
        self.is_over = True
        self.control.reset()
        if self.wires is not None:
            self.wires.hang_up(Wire.reset)

    def _open(self, cursor: int) -> None:
        world = self.world
        if cursor != len(world.kept):
            raise Violation("a session begins behind what is kept", f"{cursor}")
        self._next = cursor
        seat = Seat(
            "ams", "iad", world.dice, world.checker, world.network, world.timeline, world.lag_ms
        )
        target = world.dice.randint(1, 4)
        self.wires = SendWires(self.session, seat, target, lambda _: self.end())
        self._objects = OutgoingObjects(self.session, self.wires.scheduler, world.things)
        self._objects.offer()
        self._fill()
        self.arm()

    def _fill(self) -> None:
        """Submit units while there is credit."""
        assert self.wires is not None, "credit comes with the session"
        while self.session.has_credit and self._next < UNITS:
            unit = self.session.encode_unit(unit_of(self._next))
            self.wires.scheduler.submit(STATE_FLOW, Traffic.STATE, unit)
            self._next += 1
        self.wires.kick()

    def _handle_data(self, event: Reported | Wanted | ObjectTaken) -> None:
        assert self.wires is not None, "an answer before a question"
        assert self._objects is not None, "streams come with objects"
        match event:
            case Reported(reports=reports):
                now_ns = self.world.timeline.now_ns
                for flow, before, ranges in reports:
                    self.wires.scheduler.on_report(flow, before, ranges, now_ns)
            case Wanted():
                self.wires.held[event.flow] = RangeSet(event.held)
                self._objects.on_wanted(event)
            case ObjectTaken():
                self._objects.on_taken(event)
        for flow, done in self._objects.sums_due():
            self.session.tell_sum(flow, done.sum())
        self.wires.kick()
        again = sum(self.wires.scheduler.counters.again.values())
        self.world.report.again_bytes = max(again, self.world.report.again_bytes)


class Keeper(End):
    """The receiving end: keeps units as soon as it has decoded them."""

    session: InboundSession

    def __init__(self, world: "Stripes", control: Wire, greeting: Greeting) -> None:
        super().__init__(world, control)
        token = world.dice.randbytes(16)
        self.session = InboundSession(KEEPER, SETTINGS, token, world.timeline.now_ns)
        self.wires = ReceiveWires(
            Reassembler(flow_limits(SETTINGS)),
            world.timeline,
            lambda units: self.guarded(lambda: self._keep(units)),
            lambda: self.guarded(self._report),
            self._on_breach,
        )
        self._objects = IncomingObjects(
            self.session,
            self.wires,
            world.shelf,
            lambda found: world.checker.on_object("iad", found),
        )
        self.hear(greeting.data)
        self.arm()

    def take(self, wire: Wire, stream: int) -> None:
        """Take in a data connection."""
        wire.write(attached(stream))
        self.wires.add(stream, wire)

    def handle(self, event: Event) -> None:
        """Do what an event asks for."""
        match event:
            case HelloReceived():
                self.session.welcome({0: len(self.world.kept)})
                self.arm()
            case HeartbeatDue():
                self.beat()
            case Offered():
                self._objects.on_offered(event)
            case SumKnown():
                self._objects.on_sum(event)

    def end(self) -> None:
        """End the session."""
        if not self.is_over:
            self.is_over = True
            self.control.close()
            self.wires.hang_up(Wire.close)

    def die(self) -> None:
        """Stop in the middle of everything."""
        self.is_over = True
        self.control.reset()
        self.wires.hang_up(Wire.reset)

    def _on_breach(self, error: DwcpError) -> None:
        raise Violation("nobody breaks the protocol", f"{error.reason}: {error}")

    def _keep(self, units: list[WholeUnit]) -> None:
        for whole in units:
            unit = self.session.take_unit(whole.payload)
            raw = self.session.decode(unit)
            assert raw is not None, "no epoch is refused here"
            self.world.keep(raw)
            self.session.acknowledge([unit], {0: len(self.world.kept)})

    def _report(self) -> None:
        self.session.hear(self.world.timeline.now_ns)
        reports = self.wires.reassembler.report()
        self.world.checker.on_report(reports)
        self.session.report(reports)
        self._objects.check()
