"""The configuration: its file, environment, tables, types and error messages."""
