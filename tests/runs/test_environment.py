import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from normlab.config import compose
from normlab.runs import environment as environments
from normlab.runs.environment import environment, processor


def test_environment_says_what_a_run_was_made_with() -> None:
    import torch

    before = datetime.now(UTC) - timedelta(milliseconds=1)  # to which the start is cut
    facts = environment(compose(["runtime.threads=3"]), "cpu", ["normlab", "run"])
    after = datetime.now(UTC)
    assert facts["torch"] == torch.__version__
    assert facts["threads"] == 3
    assert facts["processor"]
    assert facts["data_sha256"] == compose().data.content()
    assert environment(compose(["data=gaussian"]), "cpu", [])["data_sha256"] is None
    assert {"git_commit", "git_dirty", "host", "python", "started"} <= set(facts)
    started = datetime.fromisoformat(facts["started"])
    assert before < started <= after
    assert started.microsecond % 1000 == 0
    json.dumps(facts)


def test_a_commit_is_of_changed_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that belongs to no commit is no change."""
    module = tmp_path / "normlab" / "environment.py"
    module.parent.mkdir()
    module.write_text("first")
    who = ("-c", "user.name=N", "-c", "user.email=n@example.org")
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    monkeypatch.setattr(environments, "__file__", str(module))
    state = environments.git_state.__wrapped__
    (tmp_path / "notes.txt").write_text("mine")
    assert len(state()["git_commit"]) == 40
    assert state()["git_dirty"] is False
    module.write_text("second")
    assert state()["git_dirty"] is True
    (tmp_path / "new").mkdir()
    monkeypatch.setattr(environments, "__file__", str(tmp_path / "new" / "environment.py"))
    assert state() == {"git_commit": None, "git_dirty": None}


def test_the_processor_of_a_device_that_is_not_here_is_not_known() -> None:
    assert processor("cuda:99") is None
    assert processor("auto") is None


def test_a_gpu_s_run_says_with_which_driver_it_was_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"{line}\nGCC version: gcc 11.4.0\n")
    versions = environments.gpu_versions.__wrapped__
    found = versions("cuda:0")
    assert found["driver"] == "550.54.15"
    assert found.keys() == {"driver", "cuda", "cudnn"}
    assert versions("cpu") == {}
    json.dumps(found)
