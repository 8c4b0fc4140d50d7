"""Scenes that are held back: what quality and people said of them, and the evidence."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from scenelake.contracts.reviews import Decision, Review
from scenelake.contracts.tables import GOLD
from scenelake.serialise.accounts import ACCEPTED_VERDICTS

_VERDICT_OF = {Decision.RELEASE: "warn", Decision.REJECT: "reject"}
_STATE_OF = {Decision.RELEASE: "RELEASED", Decision.REJECT: "REJECTED"}


def reviewed(verdicts: Mapping[str, str], decided: Mapping[str, Review]) -> dict[str, str]:
    """Verdicts by scene, with a person's in place of quality's where there is one, whatever the policy says now."""
    return {s: _VERDICT_OF[decided[s].decision] if s in decided else verdict for s, verdict in verdicts.items()}


def quarantine_rows(
    scenes: Sequence[Mapping[str, Any]],
    stated: Mapping[str, Mapping[str, Any]],
    decided: Mapping[str, Review],
    own_hashes: Mapping[str, str],
    checks: Sequence[Mapping[str, Any]],
    shown: Mapping[str, Any],
    quarantine_uri: str,
) -> tuple[pa.Table, dict[str, dict[str, Any]]]:
    """Rows of ``quarantine``, and the documents that they lead to by URI: of what quality holds back, and of what a
    person decided about, even if quality has come to say otherwise.

    Args:
        scenes: of the drive.
        stated: rows of ``scene_verdict`` by scene: what quality says.
        decided: what people said, by scene.
        own_hashes: of each scene's own rows.
        checks: rows of ``qc_result``.
        shown: where the scene's rows are, for whoever draws them.
    """
    rows, documents = [], {}
    for scene in scenes:
        scene_id, drive_id = scene["scene_id"], scene["drive_id"]
        said, review = stated[scene_id], decided.get(scene_id)
        if said["verdict"] in ACCEPTED_VERDICTS and review is None:
            continue
        review_hash = own_hashes[scene_id]
        uri = f"{quarantine_uri}/{drive_id}/{scene_id}-{review_hash[:16]}.json"
        reason = said["reason"] or "review"
        documents[uri] = {
            "scene": _json_row({**scene, "content_hash": review_hash}),
            "verdict": said["verdict"],
            "reason": reason,
            "evidence": said["evidence"],
            "checks": [_json_row(c) for c in checks if c["scene_id"] == scene_id],
            **shown,
        }
        held = "REJECTED" if said["verdict"] == "reject" else "QUARANTINED"
        rows.append(
            {
                "scene_id": scene_id,
                "drive_id": drive_id,
                "state": _STATE_OF[review.decision] if review else held,
                "reason": reason,
                "evidence": said["evidence"],
                "evidence_uri": uri,
                "review_hash": review_hash,
                "reviewer": review.reviewer if review else None,
                "decided_at_ns": review.decided_at_ns if review else None,
                "drive_date": scene["drive_date"],
            }
        )
    return pa.Table.from_pylist(rows, GOLD["quarantine"].schema), documents


def _json_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, date) else v for k, v in row.items()}
