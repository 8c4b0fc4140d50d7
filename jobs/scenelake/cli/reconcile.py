"""The reconciler from the command line: the same comparison, its report on the screen."""

import argparse
import json
from collections.abc import Sequence

from scenelake.cli.stack_commands import Workspace
from scenelake.ledger.reconcile import to_markdown
from scenelake.ledger.reconcile_job import add_options, reconcile


def reconcile_stack(words: Sequence[str], *, as_json: bool) -> str:
    """Runs the comparison on the stack that the environment names; the words are the job's own options."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    parser.set_defaults(dag_run_id=None)
    report = reconcile(parser.parse_args(words), Workspace.open().settings)
    return json.dumps(report, indent=1) if as_json else to_markdown(report)
