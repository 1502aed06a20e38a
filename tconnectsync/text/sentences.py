"""Joins messages to a text of whole sentences."""

from __future__ import annotations


def as_sentences(*messages: str) -> str:
    """Return the messages that are not empty, one after the other: a full stop between two, and a capital letter after it."""
    text = ""
    for message in filter(None, messages):
        text = f"{text.removesuffix('.')}. {message[:1].upper()}{message[1:]}" if text else message
    return text
