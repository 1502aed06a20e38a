"""The simulated pump and its wearer: boluses, basal, sensor, clock, history records."""
