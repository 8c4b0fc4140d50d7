"""Views: one scene of a release to look at.

Takes a ``contracts.release_reader.ReleaseReader`` and a scene; gives a Rerun recording (``recording``, needs the
package rerun-sdk), or a contact sheet as PNG (``sheet``), and an ``export.summary.Summary`` of what is in it and what
is not, and why.

Guarantees: a file appears when it is whole; times are the release's own int64 ns; a keyframe shows the messages that
the release matched to it; memory grows with the small rows of a scene and a few payloads, not with its pictures and
points. Nothing here opens a door to the lake: the reader does.
"""
