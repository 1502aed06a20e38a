"""The simulated web services of Tandem Source and t:connect, and their faults."""
