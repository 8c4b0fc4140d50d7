"""Synchronise: from decoded messages to scenes whose every match is measured.

Takes decode's message indexes and small tables of all objects of a drive; gives scenes, keyframes, a sync
index with the error of each match, calibrations, ego poses from transforms, and an account of what lies
outside every scene. Guarantees: times stay int64; every usable message is in exactly one scene or in
``unassigned`` with a reason; a miss is a row with its delta, never an exception and never a carry-forward.
"""
