"""Edges: where records come from and go to."""
