"""Tells who made what from what: one run per stage of an attempt, and its inputs and outputs as edges.

Takes the records that the stages of an attempt left. Gives rows of ``lineage_run`` and ``lineage_edge``,
committed once however often the job runs; a later attempt adds its own rows and keeps the earlier ones.
"""
