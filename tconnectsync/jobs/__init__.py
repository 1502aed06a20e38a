"""Commands that change something, step by step: sync, backfill, import, verify, adopt."""
