"""Back-off, deadlines, and the remembered health of a source or sink."""
