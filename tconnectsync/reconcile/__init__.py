"""Compares the receiver's documents with those from the log: daily, on request, and for an adoption."""
