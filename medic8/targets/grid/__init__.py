"""The Mem|8 memory grid: the format, the library to read and write it, its scrub and its rebuild."""
