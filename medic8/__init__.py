"""Medic8 troubleshoots and heals Mem|8 memory grids and what they stand on."""

__all__: list[str] = []
