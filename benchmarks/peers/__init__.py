"""What others do with the same recordings, each in an environment of its own.

A peer is a folder with ``requirements.txt`` and ``__main__.py``, which is run as ``python -m benchmarks.peers.<name>``
by an interpreter that has nothing but those requirements.
"""
