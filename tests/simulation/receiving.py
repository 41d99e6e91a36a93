"""The taking side of all links: `streams.agents.receiver` without sockets and event loop."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from connectors.log import RecordRange
from schemas.errors import BadUnitError, DwcpError, LinkClosedError
from streams.agents.appending import Appending, Group, joined
from tests.simulation.network import Wire
from tests.simulation.stepping import Job
from tests.simulation.striping import ReceiveWires
from transport.amst.reassembly import Reassembler, WholeUnit
from transport.frame import FrameType
from transport.session.events import (
    Event,
    HeartbeatDue,
    HeartbeatReceived,
    HelloReceived,
    Offered,
    PeerLeft,
    SumKnown,
    Unit,
)
from transport.session.handshake import Greeting, attached, unknown_session
from transport.session.inbound import InboundSession, flow_limits
from transport.session.objects import IncomingObjects, Shelf

if TYPE_CHECKING:
    from tests.simulation.region import Node


class Receiver:
    """Takes connections in, one session for each origin."""

    def __init__(self, node: "Node") -> None:
        self.node = node
        self._open: list[Wire] = []
        self.by_token: dict[bytes, Taking] = {}
        self.shelf = Shelf(bytes_max=20_000)
        self.by_origin: dict[str, Taking] = {}

    def accept(self, wire: Wire) -> None:
        """Take a connection; its first frame says what it is."""
        self._open.append(wire)
        greeting = Greeting()
        timeout_ms = self.node.world.profile.settings.silence_ms
        is_known = False

        def feed(data: bytes) -> None:
            nonlocal is_known
            try:
                kind = greeting.feed(data)
                if kind is FrameType.HELLO:
                    is_known = True
                    Taking(self, wire, greeting)
                elif kind is FrameType.ATTACH:
                    is_known = True
                    taking = self.by_token.get(greeting.token)
                    if taking is None:
                        wire.write(unknown_session())
                        raise LinkClosedError("a data connection with a token of no session")
                    taking.take(wire, greeting)
            except DwcpError as error:
                self.node.world.checker.on_error(f"{self.node.region.name} accepts", error)
                wire.close()

        wire.on_data = feed
        self.node.world.timeline.after(timeout_ms, lambda: None if is_known else wire.close())

    def end_all(self, text: str) -> None:
        """End all sessions, for what they may carry has changed."""
        for taking in self.by_origin.values():
            taking.end(LinkClosedError(text))
            taking.drain()

    def die(self) -> None:
        """Let the kernel reset what is open, and whatever was being appended end unfinished."""
        for wire in self._open:
            wire.reset()
        for taking in self.by_origin.values():
            taking.die()


class SimulatedAppending(Appending):
    """The real one, without threads and without an event loop; the checker hears of it."""

    def __init__(self, session: InboundSession, node: "Node", flush: Callable[[], None]) -> None:
        super().__init__(session, node.replica, flush)
        self._node = node

    async def _decoded(self) -> Group:
        return self._decode()

    async def _append_all(self, ranges: Iterable[RecordRange]) -> None:
        for parts in joined(ranges).values():
            await self._append_each(parts)

    async def _take_in(self, part: RecordRange) -> int:
        try:
            return await super()._take_in(part)
        finally:
            self._node.world.checker.on_replica_appended(self._node.region, part.partition)
            self._node.region.wake()

    def _refuse(self, unit: Unit, error: BadUnitError) -> None:
        self._node.world.checker.on_refused_epoch(str(error))
        super()._refuse(unit, error)


class Taking:
    """One session with one origin.

    Attributes:
        appending: Whole units that wait, and how they are appended.
        is_over: The session ended; what waits is still appended, or dropped after an error.
    """

    def __init__(self, receiver: Receiver, control: Wire, greeting: Greeting) -> None:
        self._receiver = receiver
        self._node = receiver.node
        self._world = receiver.node.world
        self._control = control
        token = self._node.dice.randbytes(16)
        self.session = InboundSession(
            self._node.identity,
            self._world.profile.settings,
            token,
            self._world.timeline.now_ns,
        )
        self.wires = ReceiveWires(
            Reassembler(flow_limits(self._world.profile.settings)),
            self._world.timeline,
            self._put,
            lambda: self._guarded(self._report),
            self.end,
        )
        self._objects = IncomingObjects(
            self.session,
            self.wires,
            receiver.shelf,
            lambda found: self._world.checker.on_object(self._node.region.name, found),
        )
        self.is_over = False
        self.appending = SimulatedAppending(self.session, self._node, self._flush)
        self._job: Job[None] | None = None
        self._is_due = False
        control.on_close = lambda: self.end(LinkClosedError("the peer closed the connection"))
        control.on_data = self._heard
        self._heard(greeting.data)
        self._arm()

    def take(self, wire: Wire, greeting: Greeting) -> None:
        """Serve a data connection."""
        wire.write(attached(greeting.stream))
        self.wires.add(greeting.stream, wire)

    def end(self, error: DwcpError) -> None:
        """End the session; what it holds is appended all the same."""
        if not self.is_over:
            self.is_over = True
            name = f"{self._node.region.name} from {self.session.peer_region}"
            self._world.checker.on_error(name, error)
            self._receiver.by_token.pop(self.session.token, None)
            self._flush()
            self._hang_up(Wire.close)

    def drain(self) -> None:
        """Append now what the session still holds: a successor waits for its cursors."""
        while self._job is not None or self.appending.waiting:
            self._append_step()

    def die(self) -> None:
        """Stop in the middle of everything."""
        self.is_over = True
        if self._job is not None and not self._job.is_done:
            self._job.kill()

    def _hang_up(self, how: Callable[[Wire], None]) -> None:
        how(self._control)
        self.wires.hang_up(how)

    def _flush(self) -> None:
        self._control.write(self.session.control_to_send())

    def _guarded(self, action: Callable[[], None]) -> None:
        if self.is_over:
            return
        try:
            action()
        except DwcpError as error:
            self.end(error)
        else:
            self._flush()

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

    def _report(self) -> None:
        self.session.hear(self._world.timeline.now_ns)
        reports = self.wires.reassembler.report()
        self._world.checker.on_report(reports)
        self.session.report(reports)
        self._objects.check()

    def _handle(self, event: Event) -> None:
        match event:
            case HelloReceived():
                self._let_in(event.region)
            case HeartbeatDue():
                digest = self._node.gossip.digest()
                wall_ms = self._node.region.wall_ms()
                self.session.send_heartbeat(digest, wall_ms, self._world.timeline.now_ns)
            case HeartbeatReceived(digest=digest):
                if digest is not None:
                    found = self._node.gossip.hear(self.session.peer_region, digest)
                    self._world.checker.on_gossip(self._node.region.name, found)
            case PeerLeft(text=text):
                raise LinkClosedError(f"the peer said goodbye: {text}")
            case Offered():
                self._objects.on_offered(event)
            case SumKnown():
                self._objects.on_sum(event)

    def _let_in(self, origin: str) -> None:
        older = self._receiver.by_origin.get(origin)
        if older is not None:
            older.end(LinkClosedError("the peer began a new session"))
            older.drain()
        self._receiver.by_origin[origin] = self
        self._receiver.by_token[self.session.token] = self
        cursors = self.appending.cursors = self._node.replica.cursors(origin)
        self._world.checker.on_cursors(self._node.region, origin, cursors)
        self.session.welcome(cursors)
        self._arm()  # heartbeats begin

    def _put(self, whole: list[WholeUnit]) -> None:
        def put() -> None:
            for unit in whole:
                self.appending.put(self.session.take_unit(unit.payload))

        self._guarded(put)
        waiting = sum(unit.raw_bytes for unit in self.appending.waiting)
        self._world.checker.on_units_waiting(waiting)
        self._wake()

    def _wake(self) -> None:
        if not self._is_due and (self._job is not None or self.appending.waiting):
            self._is_due = True
            self._node.later(self._go_on)

    def _go_on(self) -> None:
        self._is_due = False
        self._append_step()
        self._wake()

    def _append_step(self) -> None:
        if self._job is None and self.appending.waiting:
            self._job = Job(self.appending.append_some())
        if self._job is None:
            return
        try:
            is_done = self._job.step()
        except DwcpError as error:
            is_done = True
            self.appending.waiting.clear()
            self.end(error)
        if is_done:
            self._job = None
