"""The auditor: is what the lake says about itself true?

Takes a landing bucket, a ledger table and a lake bucket. Gives, check by check, how much was examined and each
violation with its evidence. Guarantees: it imports nothing of the pipeline and writes nothing to what it audits;
what it holds in memory is bounded, the rest lies in a temporary database on disk.
"""
