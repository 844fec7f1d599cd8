import json

from normlab.runs.environment import environment


def test_environment_says_what_a_run_was_made_with() -> None:
    import torch

    facts = environment("cpu", ["normlab", "run"])
    assert facts["torch"] == torch.__version__
    assert {"git_commit", "git_dirty", "host", "python", "started"} <= set(facts)
    json.dumps(facts)
