"""Small helpers for messages: plurals and printable text."""
