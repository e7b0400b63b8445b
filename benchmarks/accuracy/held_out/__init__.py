"""Variants whose author has not seen the detectors; never used for tuning."""
