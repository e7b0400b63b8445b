"""Kind ``endpoint``: an HTTP address in front of a service."""
