"""Pump time to UTC, the active pump, and the event streams that folds see."""
