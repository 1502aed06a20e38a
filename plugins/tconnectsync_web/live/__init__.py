"""Tells open pages that there is something new."""
