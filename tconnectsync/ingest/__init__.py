"""Polls a source, stores its events in the log, and fetches the days of gaps again."""
