"""Draw the map of a grid: as text, as PNG and as SVG."""
