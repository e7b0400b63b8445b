"""What can be done to a server, one kind of step in each module."""
