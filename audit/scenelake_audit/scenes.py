"""I3: one live revision of each scene, and rows that lead to one another."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scenelake_audit.aws import Aws, Wanted
from scenelake_audit.canonical import KEYS, SceneDigest
from scenelake_audit.columns import BATCHED, PAYLOAD_TABLES
from scenelake_audit.config import Depth
from scenelake_audit.database import Database
from scenelake_audit.releases import Release
from scenelake_audit.report import Report

_MANIFEST = {"scene_id": "VARCHAR", "drive_id": "VARCHAR", "content_hash": "VARCHAR"}
_SCENES_AT_ONCE = 32
_ROWS_AT_ONCE = 10_000

_KEYS = {
    "sample": "sample_id",
    "sample_data": "drive_id, sample_data_id",
    "sync_index": "sample_id, channel",
    "message_account": "drop_id, channel",
    "quarantine": "scene_id",
    "raw_object": "drop_id",
    "payload_rows": "sample_data_id",
}
"""What no two rows share. One object may be dropped in two drives, and then it is in both."""


class SceneAudit:
    """Checks the rows of one release."""

    def __init__(self, aws: Aws, depth: Depth, database: Database, report: Report, release: Release) -> None:
        self._aws, self._depth, self._db, self._report, self._release = aws, depth, database, report, release

    def check(self) -> None:
        self._db.create("manifest", _MANIFEST)
        self._db.insert("manifest", _MANIFEST, ((s, d, c) for s, (d, c) in self._release.scenes.items()))
        self._check_scenes()
        self._check_splits()
        self._check_keys()
        self._check_rows()
        self._check_keyframes()
        self._check_sync()
        self._check_payload()
        self._check_redactions()
        self._check_content()

    def _check_scenes(self) -> None:
        release_id = self._release.release_id
        for check, table, revision in (
            ("I3.scenes", "scene", "content_hash"),
            ("I3.release_scene", "release_scene", "revision"),
        ):
            self._report.examine(check, len(self._release.scenes))
            sql = f"""
                SELECT coalesce(t.scene_id, m.scene_id), m.scene_id, m.drive_id, m.content_hash, t.n, t.drive_id,
                    t.revision
                FROM (SELECT scene_id, count(*) AS n, min(drive_id) AS drive_id, min({revision}) AS revision
                    FROM {table} GROUP BY 1) t
                FULL JOIN manifest m USING (scene_id)
                WHERE t.n IS DISTINCT FROM 1 OR (t.drive_id, t.revision) IS DISTINCT FROM (m.drive_id, m.content_hash)
            """
            for scene_id, is_live, drive_id, content, number, row_drive, row_revision in self._db.rows(sql):
                expected = f"one row of drive {drive_id}, revision {content}" if is_live else f"not in {release_id}"
                found = f"{number} row(s) in {table}, drive {row_drive}, revision {row_revision}" if number else "none"
                self._report.violate(check, f"scene {scene_id}", expected, found)
        sql = "SELECT scene_id, release_id FROM release_scene WHERE release_id > ?"
        for scene_id, found in self._db.rows(sql, [release_id]):
            self._report.violate("I3.release_scene", f"scene {scene_id}", f"{release_id} or earlier", found)
        sql = "SELECT scene_id, state FROM quarantine JOIN scene USING (scene_id) WHERE state <> 'RELEASED'"
        for scene_id, state in self._db.rows(sql):
            self._report.violate("I3.scenes", f"scene {scene_id}", "not in gold while it is held back", state)

    def _check_splits(self) -> None:
        for column, name in (("drive_id", "drive"), ("cluster_id", "cluster")):
            self._report.examine("I3.splits", self._db.value(f"SELECT count(DISTINCT {column}) FROM release_scene"))
            sql = f"""
                SELECT {column}, list_sort(list(DISTINCT coalesce(split, 'none'))) AS splits FROM release_scene
                WHERE {column} IS NOT NULL GROUP BY 1 HAVING len(splits) > 1
            """
            for subject, splits in self._db.rows(sql):
                self._report.violate("I3.splits", f"{name} {subject}", "one split", ", ".join(splits))

    def _check_keys(self) -> None:
        for table, key in _KEYS.items():
            self._report.examine("I3.keys", self._db.value(f"SELECT count(*) FROM {table}"))
            sql = f"SELECT concat_ws(', ', {key}), count(*) FROM {table} GROUP BY {key} HAVING count(*) > 1"
            for name, number in self._db.rows(sql):
                self._report.violate("I3.keys", f"{table} {name}", "one row", f"{number} rows")

    def _check_rows(self) -> None:
        for table in ("sample", "sample_data", "sync_index", *BATCHED):
            self._report.examine("I3.rows", self._db.value(f"SELECT count(*) FROM {table}"))
            sql = f"SELECT scene_id, count(*) FROM {table} t ANTI JOIN scene s USING (scene_id) GROUP BY 1"
            for scene_id, number in self._db.rows(sql):
                self._report.violate("I3.rows", f"scene {scene_id}", "a row of scene", f"{number} rows of {table}")
        for table in BATCHED:
            sql = f"""
                SELECT sample_data_id, scene_id FROM {table} t
                ANTI JOIN sample_data s USING (drive_id, scene_id, sample_data_id)
            """
            for sample_data_id, scene_id in self._db.rows(sql):
                expected = f"a row of sample_data in scene {scene_id}"
                self._report.violate("I3.rows", f"{table} {sample_data_id}", expected, "none")

    def _check_keyframes(self) -> None:
        self._report.examine("I3.keyframes", self._db.value("SELECT count(*) FROM sample"))
        sql = """
            SELECT scene_id, nbr_samples, coalesce(n, 0) FROM scene LEFT JOIN
                (SELECT scene_id, count(*) AS n FROM sample GROUP BY 1) USING (scene_id)
            WHERE nbr_samples <> coalesce(n, 0)
        """
        for scene_id, expected, found in self._db.rows(sql):
            shown = f"{found} rows of sample"
            self._report.violate("I3.keyframes", f"scene {scene_id}", f"{expected} keyframes", shown)
        sql = """
            SELECT sample_id, scene_id, place, before, after, frame_index, prev_sample_id, next_sample_id FROM (
                SELECT *, row_number() OVER w - 1 AS place, lag(sample_id) OVER w AS before,
                    lead(sample_id) OVER w AS after
                FROM sample WINDOW w AS (PARTITION BY scene_id ORDER BY timestamp_ns, frame_index))
            WHERE (place, before, after) IS DISTINCT FROM (frame_index, prev_sample_id, next_sample_id)
        """
        for sample_id, scene_id, place, before, after, *found in self._db.rows(sql):
            expected = f"frame {place} between {before} and {after}"
            shown = "frame {} between {} and {}".format(*found)
            self._report.violate("I3.keyframes", f"sample {sample_id} of scene {scene_id}", expected, shown)

    def _check_sync(self) -> None:
        self._report.examine("I3.sync", self._db.value("SELECT count(*) FROM sync_index"))
        sql = "SELECT sample_id, channel, scene_id FROM sync_index t ANTI JOIN sample s USING (sample_id, scene_id)"
        for sample_id, channel, scene_id in self._db.rows(sql):
            expected = f"a keyframe {sample_id} of scene {scene_id}"
            self._report.violate("I3.sync", f"sync_index {sample_id}, {channel}", expected, "none")
        sql = """
            SELECT sample_id, channel, sample_data_id FROM sync_index t
            ANTI JOIN sample_data s USING (drive_id, sample_data_id, channel) WHERE sample_data_id IS NOT NULL
        """
        for sample_id, channel, sample_data_id in self._db.rows(sql):
            expected = f"a row {sample_data_id} of sample_data on {channel}"
            self._report.violate("I3.sync", f"sync_index {sample_id}, {channel}", expected, "none")
        sql = """
            SELECT sample_id, channel, is_match, sample_data_id FROM sync_index
            WHERE is_match IS NULL OR is_match <> (sample_data_id IS NOT NULL)
        """
        for sample_id, channel, is_match, sample_data_id in self._db.rows(sql):
            found = f"is_match {is_match}, sample_data_id {sample_data_id}"
            expected = "a sample_data_id exactly if there is a match"
            self._report.violate("I3.sync", f"sync_index {sample_id}, {channel}", expected, found)

    def _check_payload(self) -> None:
        slotted = ", ".join(repr(t) for t in sorted(PAYLOAD_TABLES))
        self._report.examine(
            "I3.payload", self._db.value(f"SELECT count(*) FROM sample_data WHERE payload_table IN ({slotted})")
        )
        sql = f"""
            SELECT s.sample_data_id, s.payload_table, s.payload_file, s.row_index, f.uri, p.sample_data_id
            FROM sample_data s
            LEFT JOIN data_files f ON f.uri = s.payload_file AND f.table_name = s.payload_table
            LEFT JOIN read_files r ON r.uri = f.uri
            LEFT JOIN payload_rows p ON p.uri = s.payload_file AND p.row_index = s.row_index
            WHERE s.payload_table IN ({slotted})
            AND (f.uri IS NULL OR (r.uri IS NOT NULL AND p.sample_data_id IS DISTINCT FROM s.sample_data_id))
        """
        for sample_data_id, table, uri, row, is_live, there in self._db.rows(sql):
            found = (there or "no such row") if is_live else f"the release's {table} has no such file"
            expected = f"its payload in row {row} of {uri}"
            self._report.violate("I3.payload", f"sample_data {sample_data_id}", expected, found)
        for table in BATCHED:
            sql = f"""
                SELECT sample_data_id FROM sample_data s ANTI JOIN {table} t USING (drive_id, scene_id, sample_data_id)
                WHERE payload_table = ? AND payload_file IS NOT NULL
            """
            for (sample_data_id,) in self._db.rows(sql, [table]):
                self._report.violate("I3.payload", f"sample_data {sample_data_id}", f"a row of {table}", "none")

    def _check_redactions(self) -> None:
        """Frames that no detector could look at, and messages of cameras that could not be read."""
        self._report.examine("I3.redaction", self._db.value("SELECT count(*) FROM redaction"))
        sql = """
            SELECT sample_data_id FROM sample_data s
            ANTI JOIN (FROM redaction WHERE redaction_status = 'withheld') USING (drive_id, sample_data_id)
            WHERE reason = 'privacy_withheld'
        """
        for (sample_data_id,) in self._db.rows(sql):
            expected = "a row of redaction that says that it was withheld"
            self._report.violate("I3.redaction", f"sample_data {sample_data_id}", expected, "none")
        sql = """
            SELECT r.sample_data_id, s.payload_table, p.is_empty, i.sample_id FROM redaction r
            JOIN sample_data s USING (drive_id, sample_data_id)
            LEFT JOIN payload_rows p ON p.uri = s.payload_file AND p.row_index = s.row_index
            LEFT JOIN sync_index i ON (i.drive_id, i.sample_data_id) = (s.drive_id, s.sample_data_id)
            WHERE r.redaction_status = 'withheld'
            AND (s.payload_table <> 'raw_message' OR NOT p.is_empty OR i.sample_id IS NOT NULL)
        """
        for sample_data_id, table, is_empty, sample_id in self._db.rows(sql):
            bytes_in = f"{'no ' if is_empty else ''}bytes in {table}"
            found = f"{bytes_in}, matched to keyframe {sample_id}" if sample_id else bytes_in
            expected = "no bytes in raw_message, and no keyframe"
            self._report.violate("I3.redaction", f"sample_data {sample_data_id}", expected, found)

    def _check_content(self) -> None:
        """Scenes file by file, in an order that the seed decides: scenes of one batch share their files."""
        sql = """
            SELECT scene_id FROM scene_files JOIN manifest USING (scene_id) WHERE table_name = 'scene'
            GROUP BY 1 ORDER BY md5(min(uri) || ?), min(uri), scene_id
        """
        found = [scene_id for (scene_id,) in self._db.rows(sql, [self._depth.seed])]
        chosen = found if self._depth.is_deep else found[: self._depth.scenes]
        if left := len(found) - len(chosen):
            self._report.note(f"the content hash of {left:,} scenes was not derived anew; --deep does")
        for start in range(0, len(chosen), _SCENES_AT_ONCE):
            for scene_id, derived in self._derive(chosen[start : start + _SCENES_AT_ONCE]):
                self._report.examine("I3.content")
                expected = self._release.scenes[scene_id][1]
                if derived != expected:
                    said = f"{expected}, as the release says"
                    self._report.violate("I3.content", f"scene {scene_id}", said, f"{derived} from its rows")

    def _derive(self, scene_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        digests = {scene_id: SceneDigest() for scene_id in scene_ids}
        with tempfile.TemporaryDirectory(prefix="scenelake-audit-") as folder:
            for table in sorted(KEYS):
                parts = list(self._rows_of(table, scene_ids, Path(folder)))
                if parts:
                    rows = pa.concat_tables(parts, promote_options="default")
                    for scene_id, digest in digests.items():
                        digest.add(table, rows.filter(pc.equal(rows["scene_id"], scene_id)))
        for scene_id, digest in digests.items():
            yield scene_id, digest.hexdigest()

    def _rows_of(self, table: str, scene_ids: Sequence[str], folder: Path) -> Iterator[pa.Table]:
        """The scenes' rows, read a part of a file at a time: a file holds those of all its batch."""
        marks = ", ".join("?" * len(scene_ids))
        sql = f"""
            SELECT DISTINCT uri, size_bytes FROM scene_files s JOIN data_files USING (uri)
            WHERE s.table_name = ? AND scene_id IN ({marks}) ORDER BY uri
        """
        files = (Wanted(uri, size, tag=None) for uri, size in self._db.rows(sql, [table, *scene_ids]))
        wanted: Any = pa.array(scene_ids, pa.string())
        for _, fetched, path in self._aws.fetch_all(files, folder):
            if fetched is None:
                continue
            with pq.ParquetFile(path) as parquet:
                for rows in parquet.iter_batches(_ROWS_AT_ONCE):
                    kept = pa.Table.from_batches([rows]).filter(pc.is_in(rows["scene_id"], value_set=wanted))
                    if kept.num_rows:
                        yield kept
