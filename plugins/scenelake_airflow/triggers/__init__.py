"""Triggers: what wakes a DAG. They run in the triggerer and hand on nothing but a count."""
