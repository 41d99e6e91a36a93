"""One direction between two regions as a pure state machine, each end a class.

The region that has the log dials (`OutboundSession`); the region that wants it listens
(`InboundSession`). A pair of regions has two sessions, one each way.

::

    outbound                           inbound
      HELLO ─────── control ────────────►  checks who calls; asks its store for cursors
      ◄──────────── control ──── WELCOME   cursors, credit, token (or REFUSAL, and the end)
      ATTACH ────── data ───────────────►  the data connection belongs to this session
      UNIT … UNIT ─ data ───────────────►  decode, append to Kafka
      ◄──────────── control ──────── ACK   durable up to these cursors; more credit
      ◄──────────── control ─────── NACK   go back to these cursors with a new epoch
      HEARTBEAT ◄── control ──► HEARTBEAT  digests, round trip; silence ends the session

Bytes and the time go in, bytes and events come out. Credit counts raw bytes, so what the receiver
holds is bounded whatever the compression.
"""
