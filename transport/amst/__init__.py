"""One flow striped over many connections: pure cores.

::

    units ───► SendScheduler ─► frames ══ data streams ══► StreamDecoder ─► Reassembler ───► units
    objects         ▲                                                           │          objects
                    └────────────── reports, on the control connection ◄────────┘

Data streams *pull* the next frame when they are free. A frame is kept until the peer reports it as
received; what a dead stream held and nobody reported goes back to the head of the queue.
"""
