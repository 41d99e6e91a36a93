"""A TCP proxy that makes a wide-area link out of a loopback one, without root.

::

    client ──► End ─► forward lane ──► End ──► target
           ◄── End ◄─ backward lane ◄─ End ◄──

A lane is one direction of the link, shared by all connections in the order in which their bytes
came. A piece of n bytes occupies the lane for n / rate seconds and arrives `delay_ms` later, so
each lane needs one queue and one timer. A full lane stops reading, and TCP tells the senders.

What it does not do: lose, reorder or duplicate packets (TCP would hide that), or delay the TCP
handshake (the proxy's kernel answers it at once; the target is dialled at once too).
"""

import asyncio
from typing import Literal

from dwcp.demo.ends import End
from dwcp.demo.lane import Lane

QUEUE_BYTES_MAX = 1 << 20

Direction = Literal["forward", "backward", "both"]
"""Forward is from the clients to the target."""


class ShapedLink:
    """A link with delay, rate and faults to one target; listens on 127.0.0.1.

    Args:
        target_host: Where to connect through to.
        target_port: Its port.
        delay_ms: One-way delay, milliseconds; a round trip takes twice that.
        rate_bytes_per_s: What each direction carries, bytes per second of TCP payload, shared by
            all connections; None for as fast as the machine goes.
        queue_bytes_max: What may wait for a lane besides what is in flight on it, bytes. A large
            queue adds delay under load, as in real routers.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        delay_ms: float,
        rate_bytes_per_s: float | None = None,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        _check_shape(delay_ms, rate_bytes_per_s)
        self._target = (target_host, target_port)
        self._forward, self._backward = (
            Lane(delay_ms / 1000, rate_bytes_per_s, queue_bytes_max) for _ in range(2)
        )
        self._is_stopped = False
        self._server: asyncio.Server | None = None
        self._ends: set[End] = set()
        self._waiting: list[End] = []  # accepted while cut, not dialled yet
        self._dials: set[asyncio.Task[None]] = set()
        self._none_left = asyncio.Event()

    @property
    def forward_bytes(self) -> int:
        """TCP payload that arrived at the target's side, bytes."""
        return self._forward.arrived_bytes

    @property
    def backward_bytes(self) -> int:
        """TCP payload that arrived at the clients' side, bytes."""
        return self._backward.arrived_bytes

    @property
    def queued_bytes(self) -> int:
        """TCP payload on the link or waiting for it, both directions, bytes."""
        return self._forward.queued_bytes + self._backward.queued_bytes

    @property
    def is_cut(self) -> bool:
        """Whether nothing moves on the link, in one direction at least."""
        return self._forward.is_frozen or self._backward.is_frozen

    async def start(self) -> int:
        """Listen, and return the port."""
        assert self._server is None, "a link is started once"
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: End(self, self._forward, None), "127.0.0.1", 0
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening, abort all connections and wait until they are gone."""
        if self._server is None:
            return
        self._is_stopped = True
        self._server.close()
        for dial in self._dials:
            dial.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        self.reset()
        while self._ends:
            self._none_left.clear()
            await self._none_left.wait()
        await self._server.wait_closed()

    def reshape(
        self, *, delay_ms: float, rate_bytes_per_s: float | None, direction: Direction = "both"
    ) -> None:
        """Change delay and rate; what is on its way keeps its times."""
        _check_shape(delay_ms, rate_bytes_per_s)
        for lane in self.lanes(direction):
            lane.reshape(delay_ms / 1000, rate_bytes_per_s)

    def cut(self, direction: Direction = "both") -> None:
        """Let nothing move, as if all packets were dropped; connections stay open and silent.

        New connections are accepted, but the target hears nothing of them before the link is
        healed, and never of those that their clients closed before: TCP's handshake needs both
        directions, so this holds for a cut of one, too.
        """
        for lane in self.lanes(direction):
            lane.freeze()
        for end in self._ends:
            end.update_reading()

    def heal(self) -> None:
        """Let what was queued go on; it takes rate and delay again, as if sent once more."""
        if not self.is_cut:
            return
        waiting, self._waiting = self._waiting, []
        for lane in self.lanes():
            if lane.is_frozen:
                lane.thaw()
        for client in waiting:
            self._start_dial(client)
        for end in self._ends:
            end.update_reading()

    def lanes(self, direction: Direction = "both") -> tuple[Lane, ...]:
        """Return the lanes of a direction."""
        lanes = {"forward": (self._forward,), "backward": (self._backward,)}
        return lanes.get(direction, (self._forward, self._backward))

    def reset(self) -> None:
        """Abort all connections on both sides at once, wherever in their streams they are."""
        self._forward.clear()
        self._backward.clear()
        for end in list(self._ends):
            end.abort()

    def opened(self, end: End) -> None:
        """Take in an end whose connection was made, and dial for a client's; for `End`."""
        self._ends.add(end)
        if self._is_stopped:
            end.abort()
        elif end.lane is self._forward and self.is_cut:
            self._waiting.append(end)
        elif end.lane is self._forward:
            self._start_dial(end)

    def closed(self, end: End) -> None:
        """Forget an end whose connection is gone; for `End`."""
        self._ends.discard(end)
        if end in self._waiting:
            self._waiting.remove(end)
        if not self._ends:
            self._none_left.set()

    def is_waiting(self, end: End) -> bool:
        """Say whether an end was accepted while cut, so that nobody knows of it; for `End`."""
        return end in self._waiting

    def _start_dial(self, client: End) -> None:
        dial = asyncio.get_running_loop().create_task(self._dial(client))
        self._dials.add(dial)
        dial.add_done_callback(self._dials.discard)

    async def _dial(self, client: End) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: End(self, self._backward, client), *self._target)
        except OSError:  # nobody listens there: the client sees what it would see without us
            client.abort()


def _check_shape(delay_ms: float, rate_bytes_per_s: float | None) -> None:
    assert delay_ms >= 0, "a link cannot deliver before it was sent to"
    assert rate_bytes_per_s is None or rate_bytes_per_s > 0, "use cut() for a link without rate"
