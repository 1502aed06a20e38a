"""Runs tconnectsync for many people on several machines, over NATS JetStream."""
