"""The event log for Python programs: `open_log`, `PumpLog`, and events as rows or a pandas data frame."""
