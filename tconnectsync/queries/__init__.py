"""Commands that only read: status, check, preview, verify, events."""
