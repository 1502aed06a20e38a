"""Figures about glucose and insulin: pure functions over events with their UTC times, and a cache of past days' figures."""
