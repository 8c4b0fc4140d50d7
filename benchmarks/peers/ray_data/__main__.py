"""Ray Data runs our decode task over the drops that Spark is given."""

from collections.abc import Callable
from typing import Any

import ray
from benchmarks.decode_ours import checked, drops_of, task_of
from benchmarks.peers.measuring import Facts, Step, main

from scenelake.contracts.stages import DropOutcome


def prepare(step: Step) -> Callable[[], Facts]:
    if not ray.is_initialized():
        ray.init(num_cpus=step.options["cores"], include_dashboard=False, log_to_driver=False)
    drops, task = drops_of(step), task_of(step)

    def decoded(row: dict[str, Any]) -> dict[str, Any]:
        return {"outcome": task(drops[row["item"]]).to_json()}

    def run() -> Facts:
        rows = ray.data.from_items(list(range(len(drops))), override_num_blocks=len(drops)).map(decoded).take_all()
        return checked([DropOutcome.from_json(row["outcome"]) for row in rows])

    return run


if __name__ == "__main__":
    main(prepare, is_whole_tree=True)
