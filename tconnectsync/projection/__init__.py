"""Incremental runs of folds over the log, and the invalidation of what must be folded again."""
