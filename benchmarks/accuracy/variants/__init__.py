"""Variants that the detectors were made with."""
