"""Variants that the detectors were made with or tuned to."""
