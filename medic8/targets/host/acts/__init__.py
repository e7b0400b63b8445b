"""Steps on the host, one module for each kind of step."""
