"""What the rooms of the house agree on: identities, tables, paths, stages, errors.

Takes nothing and depends on nothing but the standard library and pyarrow. Every other package may
import it; it imports none of them.
"""
