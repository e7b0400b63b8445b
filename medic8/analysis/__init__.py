"""Readings in, judgement out."""
