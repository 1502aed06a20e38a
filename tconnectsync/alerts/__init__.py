"""Tells people when data stop: problems from the status, notifications, and the heartbeat."""
