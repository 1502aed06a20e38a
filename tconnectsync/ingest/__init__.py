"""Polling one source: its schedule, its events into the log, and gaps to fetch again."""
