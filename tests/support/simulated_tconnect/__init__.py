"""The older t:connect services of a simulated pump, over HTTP on this machine: only tests need them."""
