"""Plans for the host, one module for each strategy."""
