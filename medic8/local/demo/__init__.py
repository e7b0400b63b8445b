"""The demo: a real grid damaged, diagnosed, healed and compared bit for bit; a recovery that is undone."""
