"""Vocabulary: events, ids, clocks and errors; imports nothing of ours."""
