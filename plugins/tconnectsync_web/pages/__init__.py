"""The content of the pages: pure functions from events to plain values, without HTML."""
