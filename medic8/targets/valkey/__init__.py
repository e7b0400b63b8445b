"""Kind ``valkey``: a Valkey or Redis server."""
