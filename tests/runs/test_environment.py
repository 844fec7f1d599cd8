import json
from datetime import UTC, datetime

from normlab.config import compose
from normlab.runs.environment import environment, processor


def test_environment_says_what_a_run_was_made_with() -> None:
    import torch

    before = datetime.now(UTC)
    facts = environment(compose(["runtime.threads=3"]), "cpu", ["normlab", "run"])
    assert facts["torch"] == torch.__version__
    assert facts["threads"] == 3
    assert facts["processor"]
    assert {"git_commit", "git_dirty", "host", "python", "started"} <= set(facts)
    started = datetime.fromisoformat(facts["started"])
    assert abs((started - before).total_seconds()) < 60
    assert started.microsecond % 1000 == 0
    json.dumps(facts)


def test_the_processor_of_a_device_that_is_not_here_is_not_known() -> None:
    assert processor("cuda:99") is None
    assert processor("auto") is None
