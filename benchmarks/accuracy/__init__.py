"""How often a diagnosis is right, measured on faults that it knows nothing of beforehand."""
