"""
### Build scenes
Turns one batch of drops into gold: scenes, keyframes, synchronised sensor rows, quality verdicts, an Iceberg
commit and a dataset release. **ingest_drops** starts it with a batch id and an attempt.

#### By hand
Trigger it with a *bucket* and a *prefix*, or with a list of *drops*; set *rebuild* to build drops again that are
already in gold.

#### When a stage fails
Every stage is a job that reads and writes S3 and is safe to repeat. When one fails for good, `hand_back` lets
the batch's lease lapse, so that the next claim tries again under a new attempt; `built` then ends *upstream
failed*, and the run ends failed. In a green run `hand_back` is skipped.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, TriggerRule, chain

from scenelake_airflow.assets import BACKLOG, GOLD
from scenelake_airflow.operators.batches import MilestoneOperator
from scenelake_airflow.operators.job import ScenelakeJobOperator

# Before a batch is opened (or when opening failed) the claim's own answer, which came as params, stands in.
BATCH = "(ti.xcom_pull(task_ids='open_batch') or params)"
BATCH_ID = f"{{{{ {BATCH}['batch_id'] or '' }}}}"
ATTEMPT = f"{{{{ {BATCH}['attempt'] or '' }}}}"
FAILURES = "(ti.xcom_pull(task_ids=task.upstream_task_ids, key='failure') | select | join('; '))"

# Params with a section are folded away in the Trigger form; the ones for a person have none.
SET_BY_INGEST = "Set by ingest_drops; leave empty by hand"
PARAMS = {
    "bucket": Param(None, type=["null", "string"], title="Bucket", description="Landing bucket; empty: the usual."),
    "prefix": Param(
        None,
        type=["null", "string"],
        title="Prefix",
        description="Build the drops whose key starts with this, for example fleet/vehicle/drive/.",
    ),
    "drops": Param(
        [],
        type=["null", "array"],
        items={"type": "string", "pattern": "^s3://[^/]+/.+"},
        title="Drops",
        description="Instead of bucket and prefix: the drops to build, as s3:// URIs, one a line.",
    ),
    "rebuild": Param(
        False,
        type="boolean",
        title="Rebuild",
        description="Also take drops that are in gold already; their scenes get a new revision.",
    ),
    "batch_id": Param(
        None, type=["null", "string"], title="Batch", section=SET_BY_INGEST, description="Batch that was claimed."
    ),
    "attempt": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Attempt",
        section=SET_BY_INGEST,
        description="Attempt at the batch; fences off older ones.",
    ),
}


def stage(name: str, doc_md: str, *, minutes: int, **kwargs: Any) -> ScenelakeJobOperator:
    """One stage of the batch that open_batch opened."""
    return ScenelakeJobOperator(
        task_id=name,
        job=name,
        batch_id=BATCH_ID,
        attempt=ATTEMPT,
        execution_timeout=timedelta(minutes=minutes),
        doc_md=doc_md,
        **kwargs,
    )


with DAG(
    dag_id="build_scenes",
    description="Builds one batch of drops into gold scenes.",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=2,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(hours=8),
    tags={"scenelake", "build"},
    params=PARAMS,
    default_args={
        "owner": "scenelake",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=5),
    },
):
    open_batch = ScenelakeJobOperator(
        task_id="open_batch",
        job="open_batch",
        arguments=[
            "{{ '--batch-id=' ~ params.batch_id if params.batch_id }}",
            "{{ '--attempt=' ~ params.attempt if params.batch_id }}",
            "{{ '--bucket=' ~ params.bucket if params.bucket and not params.batch_id }}",
            "{{ '--prefix=' ~ params.prefix if params.prefix and not params.batch_id }}",
            "{{ '--drops=' ~ params.drops | tojson if params.drops and not params.batch_id }}",
            "{{ '--rebuild' if params.rebuild and not params.batch_id }}",
        ],
        skip_without="batch_id",
        execution_timeout=timedelta(minutes=5),
        doc_md="Takes up the claimed batch, or claims the drops named by hand. Skips, with the reason in its log, "
        "when there is nothing to build.",
    )
    decode = stage(
        "decode",
        "Reads each recording once and writes its sensor payloads to their final place.",
        minutes=240,
    )
    synchronise = stage("synchronise", "Cuts scenes, lays keyframes, matches every sensor to them.", minutes=60)
    quality = stage("quality", "Checks completeness and gaps; gives each scene a verdict.", minutes=60)
    serialise = stage("serialise", "Commits gold tables and the dataset release.", minutes=60, outlets=[GOLD])
    lineage = stage("lineage", "Records what this run read, wrote and was made of.", minutes=30)
    settle_batch = stage("settle_batch", "Ends every drop in the ledger.", minutes=15, outlets=[BACKLOG])
    built = MilestoneOperator(
        task_id="built",
        execution_timeout=timedelta(minutes=1),
        doc_md="Green only when every stage is: it decides the state of the run.",
    )
    hand_back = stage(
        "hand_back",
        "Runs only when a stage failed for good: lets the lease lapse, so that the next claim tries again.",
        minutes=5,
        arguments=[f"{{{{ '--failure=' ~ {FAILURES} if {FAILURES} }}}}"],
        trigger_rule=TriggerRule.ONE_FAILED,
        outlets=[BACKLOG],
    )

    stages = [open_batch, decode, synchronise, quality, serialise, lineage, settle_batch]
    chain(*stages, built)
    stages >> hand_back
