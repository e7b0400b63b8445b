"""Grids to and from files that other programs read and write."""
