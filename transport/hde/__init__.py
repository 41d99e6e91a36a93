"""Hierarchical delta encoding: few bytes, lossless."""
