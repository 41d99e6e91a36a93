"""Logs of a node: one line an event, names and values, through structlog."""

import logging
import sys

import structlog

# Expected while brokers start and stop, and repeated many times a second.
_QUIET = ("aiokafka", "faust", "mode", "aiohttp")


def configure_logs(*, as_json: bool, level: str = "info") -> None:
    """Send our own events and the libraries' warnings to stderr.

    Args:
        as_json: One JSON object a line, for machines.
        level: Lowest level of our own events.
    """
    renderer = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
