"""The `init` command's questions, configuration template and import of older settings."""
