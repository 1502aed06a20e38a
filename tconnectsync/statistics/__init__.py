"""Figures about glucose and insulin: pure functions over events with their UTC times."""
