"""Benchmarks: one module a question; a table for people, JSON for machines. No tests."""
