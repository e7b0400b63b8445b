"""Looks at the host, one module for each part of it; read-only, bounded, setting nothing."""
