"""The `demo` command, its set-up and its page."""
