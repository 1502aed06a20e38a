"""The ``setup`` command's steps: questions with tests, files, the service, and the first sync."""
