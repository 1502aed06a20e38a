"""The state of a source or a sink, and how bad it is for the user."""
