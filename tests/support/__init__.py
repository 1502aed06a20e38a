"""What tests of several folders share. Each folder's own fakes are in its ``harness.py`` or named after what they fake."""
