"""The engine's loop, the parts of one sink, their assembly, and the data folder."""
