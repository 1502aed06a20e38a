"""The simulated Nightscout site: API, store, queries, faults."""
