"""What a script gives to a function: refused in one line, and named as a script names it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import normlab
from normlab import api
from normlab.errors import ConfigError
from tests.tools.synthetic_results import write_runs

# As a person calls them who has no type checker.
door: Any = normlab


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: door.run(["model=mlp"]),
            "run: each of overrides is a text, not ['model=mlp']; write run(*overrides)",
        ),
        (
            lambda: door.run(model="mlp"),
            'run(model=…): no such argument; a setting is a text, "model=mlp"; '
            "choices: config_dir, force, progress",
        ),
        (
            lambda: door.sweep(**{"model.depth": 8}, force=True),
            'sweep(model.depth=…): no such argument; a setting is a text, "model.depth=8"; '
            "choices: config_dir, force, retry_failed, fail_fast, progress",
        ),
        (lambda: door.compose("norm=bn", 5), "compose: each of overrides is a text, not 5"),
        (
            lambda: door.extend("3e1", ("seed=1",)),
            "extend: each of overrides is a text, not ('seed=1',); write extend(*overrides)",
        ),
        (
            lambda: door.verify(["C14"]),
            "verify: each of words is a text, not ['C14']; write verify(*words)",
        ),
        (
            lambda: door.results(["watched"]),
            "results: each of folders is a path, not ['watched']; write results(*folders)",
        ),
        (
            lambda: door.results("watched", norm="bn"),
            "results(norm=…): no such argument; choices: where",
        ),
    ],
)
def test_what_is_no_argument_is_refused_in_a_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        call()
    assert str(refused.value) == message


def test_options_are_named_as_arguments(tmp_path: Path) -> None:
    write_runs(4, tmp_path / "results")
    runs: Any = normlab.results(tmp_path / "results")
    for call, message in (
        (lambda: normlab.results(tmp_path / "results", where="norm=gn"), "where 'norm=gn': no run"),
        (lambda: runs.where("norm"), "where 'norm': must be KEY=VALUE"),
        (lambda: runs.where(norm="ln"), 'where(norm=…): no such argument; a setting is a text, "'),
        (lambda: runs.compare(by="train_acc"), "by train_acc: says what best KEY chooses by"),
        (lambda: runs.paired("norm"), "baseline 'norm': must be KEY=VALUE"),
        (lambda: runs.plot("heatmap", metric="grad_norm"), "metric grad_norm: plot heatmap takes"),
        (lambda: runs.plot("heatmap"), "a heatmap is of one run, and these are 4; name one by its"),
        (lambda: runs[0].plot("heatmap", probe="no"), "probe no: "),
        (lambda: runs.compare().to("md", caption="a"), "caption: format md has none"),
    ):
        with pytest.raises(ConfigError) as refused:
            call()
        assert str(refused.value).startswith(message)
        assert "--" not in str(refused.value)


def test_a_command_names_options_as_they_are_typed(tmp_path: Path) -> None:
    write_runs(4, tmp_path / "results")
    with pytest.raises(ConfigError, match=r"^--where 'norm=gn': no run has it"):
        api.results_in([tmp_path / "results"], ["norm=gn"])
