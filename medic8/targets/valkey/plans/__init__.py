"""Strategies for the issues of a server, one subject in each module."""
