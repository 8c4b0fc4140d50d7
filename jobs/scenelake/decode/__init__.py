"""Decode: one dropped object in, sensor payloads at their final place and one index row per message out.

Takes an object version of the landing bucket, of any format in ``formats``: a small one whole, a large one in parts
that several tasks read in ranges. Gives payload files per (object,
table, 20 s slot of log time), small tables and ``message_index`` in the drop's folder, and ``outcome.json``
last. Guarantees: every message that could be read is in the index once, as decoded, raw or undecodable
with a reason; bytes that could not be read are reported as ranges; memory is bounded by
windows and row groups, not by the object or its chunks; the same object and recipe give the same bytes.
"""
