"""Which days are fetched, in which windows, and what happens if some cannot be read."""
