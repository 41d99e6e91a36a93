"""Faust agents and services: thin shells round the cores."""
