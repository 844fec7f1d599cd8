"""The README's four runs, the two deep ones with fewer epochs: what the project exists to show."""

import re
import shutil
from pathlib import Path

import pytest

from normlab.config import compose
from normlab.runs import Finished, Summary, execute
from tests.cli.invoking import normlab

SIGMOID = ("model=mlp", "model.depth=20", "model.activation=sigmoid")
DEEP = ("model.depth=56", "norm=bn", "training.epochs=6")

pytestmark = pytest.mark.first


def made(root: Path, *overrides: str) -> Summary:
    """The summary of a run."""
    *_, last = execute(compose([*overrides, f"output.root='{root}'", "runtime.device=cpu"]))
    assert isinstance(last, Finished)
    return last.summary


def test_the_story_at_initialization(tmp_path: Path) -> None:
    """After a single step: what vanishes, what explodes, and what normalization and skips do."""
    short = (
        *("training.steps=1", "training.batch_size=32", "probes.batch_size=32"),
        *("data.train_size=64", "data.test_size=16"),
    )
    sigmoid = made(tmp_path, *SIGMOID, "norm=none", *short)
    assert sigmoid.verdict_init == "vanishing"
    assert sigmoid.gradient_ratio_init < 1e-8
    assert 0.05 < made(tmp_path, *SIGMOID, "norm=bn", *short).gradient_ratio_init < 20
    deep = ("model.depth=56", "model.width=4", "norm=bn", *short)
    plain, residual = (made(tmp_path, f"model={name}", *deep) for name in ("cnn", "resnet"))
    assert plain.verdict_init == "exploding"
    assert residual.verdict_init != "exploding"
    assert 0.05 < residual.gradient_ratio_init < 20 < plain.gradient_ratio_init


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Summary]:
    runs = {
        "sigmoid": [*SIGMOID, "norm=none"],
        "sigmoid bn": [*SIGMOID, "norm=bn"],
        "plain": ["model=cnn", *DEEP],
        "residual": ["model=resnet", *DEEP],
    }
    root: Path = tmp_path_factory.mktemp("results")
    return {name: made(root, *overrides) for name, overrides in runs.items()}


@pytest.mark.slow
def test_a_deep_sigmoid_net_has_a_vanishing_gradient(summaries: dict[str, Summary]) -> None:
    found = summaries["sigmoid"]
    assert found.verdict == found.verdict_init == "vanishing"
    assert found.gradient_ratio_init < 1e-8
    assert 0.2 < found.gradient_factor_init < 0.4
    assert found.train_acc < 0.2


@pytest.mark.slow
def test_batch_norm_cures_it(summaries: dict[str, Summary]) -> None:
    found = summaries["sigmoid bn"]
    assert found.verdict == "trains"
    assert 0.05 < found.gradient_ratio_init < 20


@pytest.mark.slow
def test_a_deep_plain_net_trains_badly_though_its_gradient_lives(
    summaries: dict[str, Summary],
) -> None:
    found = summaries["plain"]
    assert found.verdict == "undertrained"
    assert found.verdict_init == "exploding"  # BatchNorm without skips, Yang et al. 2019
    assert 1e-2 < found.gradient_ratio_end < 1e2
    assert found.train_acc < 0.5


@pytest.mark.slow
def test_its_residual_twin_trains(summaries: dict[str, Summary]) -> None:
    assert summaries["residual"].verdict == "trains"
    assert summaries["residual"].parameters == summaries["plain"].parameters


@pytest.mark.slow
def test_the_readme_shows_what_the_quickstart_prints_at_its_end(tmp_path: Path) -> None:
    """Row for row; how near an edge a net fares, and so the words, differs by processor.

    Where the README's first command has been given, as CI does, its runs are shown once more.
    """
    root = Path(__file__).parents[2]
    if (root / "results" / "quickstart").is_dir():
        shutil.copytree(root / "results" / "quickstart", tmp_path / "results" / "quickstart")
    done = normlab("sweep", "experiment=quickstart", cwd=tmp_path, COLUMNS="80")
    assert done.returncode == 0, done.stderr
    printed = done.stdout[done.stdout.index("norm   residual") :]
    readme = (root / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```text\n(norm .*?)```", readme, re.DOTALL)

    def beginnings(text: str) -> list[str]:
        """What stands before the first gap of each line: arms, subjects, labels, no ticks."""
        return re.findall(r"^[^\s\d]\S*(?: \S+)*(?=  )", text, re.MULTILINE)

    def metrics(text: str) -> list[str]:
        return re.findall(r"train_acc  |ratio init  |ratio end  ", text)

    assert len(beginnings(shown)) > 10
    assert beginnings(shown) == beginnings(printed)
    assert len(metrics(shown)) == 12
    assert metrics(shown) == metrics(printed)
