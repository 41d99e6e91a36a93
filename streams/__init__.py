"""Decisions: what happens to events and to replicated state."""
