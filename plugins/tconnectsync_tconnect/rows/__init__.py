"""Rows of t:connect's responses and CSV exports, decoded and merged into events."""
