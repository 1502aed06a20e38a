"""The pump's own history log, as Tandem's web service handed it out until 2026: rows of 26-byte records, mostly as base64 text.

A record is turned into the entry that today's JSON API gives of it, so that one decoder reads both and the log holds one form.
"""
