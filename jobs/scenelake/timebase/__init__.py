"""Grids, windows and clocks on int64 nanoseconds. Pure functions over NumPy arrays; no floats in time."""
