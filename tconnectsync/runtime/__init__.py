"""The engine's loop, the parts of one sink, opening it all from a configuration, and the data folder."""
