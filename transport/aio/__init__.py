"""The only folder of transport that owns sockets and timers."""
