"""Commits a batch: accepted scenes join the gold tables, and a dataset release makes them one version.

Takes the rows of synchronise, the verdicts of quality and the payload that decode wrote at its final place.
Gives gold rows, quarantine records, a balanced account of every message and, when anything changed, one
release. Guarantees: a release is all of a batch or nothing of it, whatever crashed before; a batch that is
tried again, by this attempt or a later one, leaves the same rows once; releases are numbered without gaps.
"""
