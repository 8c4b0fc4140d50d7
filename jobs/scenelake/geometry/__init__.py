"""Rigid motion, cameras, radars and the Earth: pure functions over NumPy arrays.

Takes poses, stamps and points as arrays; gives moved points, interpolated poses, pixels and coordinates.
Guarantees: times stay int64 nanoseconds, nothing is extrapolated, and what cannot be computed comes back as
NaN with a mask or as a reason in words, never as an exception. Stages, the loader, the exports and the viewer
all use this package, so that a derived value is the same wherever it is computed
(``docs/decisions/0015-motion-is-compensated-by-the-reader.md``).
"""
