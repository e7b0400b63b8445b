"""The map of a grid: what a scrub saw, value by value, and pictures of it that fit a screen."""
