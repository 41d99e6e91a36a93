"""Fixtures for all suites; helpers to import live in `tests/support/`."""

from tests.support.kafka import kafka_broker

__all__ = ["kafka_broker"]
