"""Doors to the outside: object storage, the ledger's table, Iceberg, Spark, each with an in-memory twin.

Takes contracts, gives implementations of the protocols that stages ask for. Stage modules never import
an adapter; their ``job.py`` hands it to them.
"""
