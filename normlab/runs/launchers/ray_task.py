"""A task of a Ray cluster: one run on a node that may share no file system with the others."""

import sys
import tempfile

from normlab.config import run_id, to_yaml
from normlab.runs.execution import execute_in_worker
from normlab.runs.files import to_json
from normlab.runs.folder import CONFIG_FILE, run_folder
from normlab.runs.launchers.packed import Packed
from normlab.runs.locks import LOCK_FILE
from normlab.runs.outcomes import Outcome
from normlab.runs.summary import SUMMARY_FILE, parse_summary

Files = dict[str, bytes]


def make_run(packed: Packed, device: str, command: list[str]) -> tuple[Outcome, Files]:
    """Make a run in a folder of this node's own; its outcome, and the content of its files."""
    [config] = packed.unpacked()
    sys.argv = command  # what started the sweep goes into environment.json, not Ray's worker
    with tempfile.TemporaryDirectory(prefix="normlab-", ignore_cleanup_errors=True) as root:
        # The folder goes with the task, and a checkpoint in it: a lost run starts over.
        local = {"device": device, "checkpoint_seconds": 0.0}
        placed = config.model_copy(
            update={
                "output": config.output.model_copy(update={"root": root}),
                "runtime": config.runtime.model_copy(update=local),
            }
        )
        try:
            outcome = execute_in_worker(placed, force=True, stop=lambda: False)
        except KeyboardInterrupt:  # from ray.cancel
            outcome = Outcome(run_id(config), "interrupted", "stopped before its end")
        files = {
            file.name: file.read_bytes()
            for file in run_folder(placed).glob("[!.]*")
            if file.name != LOCK_FILE
        }
    if SUMMARY_FILE in files:
        summary = parse_summary(files[SUMMARY_FILE])
        named = summary.model_copy(update={"config": config.model_dump(mode="json")})
        files[SUMMARY_FILE] = (to_json(named.to_plain()) + "\n").encode()
        files[CONFIG_FILE] = to_yaml(config).encode()
    return outcome, files
