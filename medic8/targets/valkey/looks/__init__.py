"""The diagnostics of a server, one module each: reading apart from judging, and judging is pure."""
