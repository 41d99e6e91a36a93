"""DWCP: cross-region state replication for Kafka."""

__version__ = "0.1.0"
