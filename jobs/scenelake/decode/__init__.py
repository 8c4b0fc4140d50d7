"""Decode: one dropped object in, sensor payloads at their final place and one index row per message out.

Takes an object version of the landing bucket (MCAP), as a local file. Gives payload files per (object,
table, 20 s slot of log time), small tables and ``message_index`` in the drop's folder, and ``outcome.json``
last. Guarantees: every message that could be read is in the index once, as decoded, raw or undecodable
with a reason; bytes that could not be read are reported as ranges; memory grows with a chunk, not with the
object; the same object and recipe give the same bytes.
"""
