"""Public datasets into MCAP recordings, faithfully.

Takes a dataset's own folder, gives one MCAP file and a report. Guarantees: stamps are the recorded ones in ns,
by integer arithmetic; gaps, duplicates and backward jumps stay; payload bytes are the files' bytes; everything
that could not be converted is in the report's remarks; the same input gives the same bytes; a failure leaves
no file. ``converters.CONVERTERS`` names them all.
"""
