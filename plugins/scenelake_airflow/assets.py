"""The assets that connect the DAGs, each named once.

They have names and no URIs: for a URI with a scheme Airflow loads every provider's handlers, 0.4 s a parse.
"""

from airflow.sdk import Asset, AssetWatcher

from scenelake_airflow.triggers.doorbell import DoorbellTrigger

DOORBELL = Asset(
    name="scenelake_doorbell",
    watchers=[AssetWatcher(name="doorbell_queue", trigger=DoorbellTrigger())],
)
"""Rung once a drop is in the ledger. It says "look", never what to work on."""

BACKLOG = Asset(name="scenelake_backlog")
"""A batch was let go of (settled or handed back), so its place and its drives are free for a waiting drop."""

REVIEWS = Asset(name="scenelake_reviews")
"""A person decided about a scene that was held back; the event's extra is the decision that stands."""

GOLD = Asset(name="scenelake_gold")
"""Gold was committed; the event's extra is serialise's answer (release id, counts)."""
