"""Compares what the receiver holds with the documents from the log: daily, on request, on adoption."""
