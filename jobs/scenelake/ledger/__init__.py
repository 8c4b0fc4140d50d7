"""The ledger: which drops exist, who is building them, and how they ended.

Takes S3 events (``register_drop``) and claims, gives bounded batches with a lease and a fencing token.
Guarantees: every transition is a conditional update kept in a history; a claim persists its batch before
anyone works on it; a stale attempt is fenced off; the same event any number of times changes nothing.
"""
