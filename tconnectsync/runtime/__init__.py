"""The engine's loop, the work of one sink, how they are assembled, and the data folder."""
