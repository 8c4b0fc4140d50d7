"""Exports: a release, or some of its scenes, in a format that others train from.

Takes a ``contracts.release_reader.ReleaseReader`` and a folder; gives nuScenes tables with their files, a LeRobot
dataset (v3.0, v2.1, and v2.1 with what GR00T adds), or WebDataset shards, and a ``summary.Summary`` of what was
written, what was left out and why, which also lies in the folder as ``scenelake_export.json``.

Guarantees: nothing appears in the folder before all of it is written; the same release and options give the same
bytes (video as far as the encoder's build is the same); memory grows with a scene and a drive's index, not with the
release. What a format cannot hold is counted in the summary, never dropped in silence. Nothing here opens a door to
the lake: the reader does.
"""
