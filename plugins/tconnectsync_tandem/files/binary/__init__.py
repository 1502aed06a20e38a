"""The pump's binary history log: 26-byte records, mostly as base64 text, as Tandem's web service sent it until 2026.

A record is converted to the entry of today's JSON API, so that one decoder reads both and the log has one format.
"""
