"""The event log as a Python library: `PumpLog`, tables of events, and the stored figures of past days."""
