"""Tells people when data stops: problems from the status, notifications, and the heartbeat."""
