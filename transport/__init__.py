"""Bytes across the WAN: frames, sessions and encodings."""
