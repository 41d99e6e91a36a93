"""Replicated state as pure cores: entities, partitions, snapshots."""
