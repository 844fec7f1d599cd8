"""A training that ends before its last step: at a value of a metric, or out of time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pandas.testing import assert_frame_equal

from normlab.analysis import read_results
from normlab.analysis.comparing import counts
from normlab.config import compose, run_id
from normlab.errors import ConfigError
from normlab.runs import Summary, execute, plan_configs, read_run, read_summary, run_folder
from normlab.training import session
from tests.conftest import TINY

SMALL = (
    *("model=mlp", "model.depth=4", "model.width=8", "norm=bn", "training.epochs=12"),
    *("probes.batch_size=64", "runtime.device=cpu"),
)


def made(*words: str, **options: Any) -> Summary:
    """The summary of a small run that was made to its end."""
    config = compose([*SMALL, *words])
    list(execute(config, **options))
    summary = read_summary(run_folder(config))
    assert summary is not None
    return summary


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("metric", "value", "better"),
    [("train_acc", 0.6, lambda v: v >= 0.6), ("test_loss", 1.4, lambda v: v <= 1.4)],
)
def test_it_stops_at_the_first_evaluation_that_is_as_good(
    metric: str, value: float, better: Any
) -> None:
    whole = made()
    full = read_run(Path("results/runs") / whole.run_id)
    first = full.metrics[full.metrics[metric].map(better)].iloc[0]
    assert 0 < first["step"] < whole.steps
    summary = made(f"training.stop_metric={metric}", f"training.stop_value={value}")
    stopped = read_run(Path("results/runs") / summary.run_id)
    assert (summary.status, summary.steps) == ("stopped", first["step"])
    assert getattr(summary, metric) == first[metric]
    assert summary.reason.startswith(f"Stopped early at step {summary.steps}, where {metric} was")
    assert summary.verdict is not None
    # Until there it is the same training, and its last layers are measured.
    until = full.metrics[full.metrics["step"] <= summary.steps]
    aside = ["seconds", "probe_loss_train_mode", "probe_loss_eval_mode"]
    assert_frame_equal(stopped.metrics.drop(columns=aside), until.drop(columns=aside))
    assert stopped.metrics[aside[1:]].iloc[-1].notna().all()
    end = stopped.layers[stopped.layers["step"] == summary.steps]
    assert end["delta_rms"].notna().all()
    assert summary.gradient_ratio_end == pytest.approx(
        end["delta_rms"].iloc[0] / end["delta_rms"].iloc[-2]
    )
    assert not plan_configs([stopped.config]).pending  # it is a result


def test_out_of_time_it_goes_on_with_a_larger_limit() -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = iter(range(10**9))  # a second passes each time it is asked
        patch.setattr(session.time, "perf_counter", lambda: next(clock))
        summary = made("training.max_seconds=40", "output.weights=true")
        # Again with the same limit, no step more is made.
        again = made("training.max_seconds=40", "output.weights=true")
    assert again.steps == summary.steps
    assert summary.status == "timeout"
    assert not summary.final
    assert summary.verdict is None
    assert 0 < summary.steps < 12 * 11
    reason = f"Out of time at step {summary.steps}, training.max_seconds=40."
    assert reason in summary.reason
    assert "goes on from there" in summary.reason
    folder = Path("results/runs") / summary.run_id
    assert not (folder / "weights.pt").exists()
    assert counts(read_results([Path("results")])[0]) == {"timeout": 1}
    ended = made("output.weights=true")
    assert (ended.status, ended.run_id) == ("finished", summary.run_id)
    weights = torch.load(folder / "weights.pt", weights_only=True)
    whole = made("output.weights=true", "output.root=other")
    others = torch.load(Path("other/runs") / whole.run_id / "weights.pt", weights_only=True)
    assert all(torch.equal(weights[name], others[name]) for name in others)
    tables = [read_run(Path(root) / "runs" / whole.run_id) for root in ("results", "other")]
    assert_frame_equal(tables[0].layers, tables[1].layers)


def test_a_limit_names_no_other_run_and_a_value_does() -> None:
    plain, limited, early = (
        compose([*TINY, *more])
        for more in (
            (),
            ("training.max_seconds=60",),
            ("training.stop_metric=train_acc", "training.stop_value=0.9"),
        )
    )
    assert run_id(plain) == run_id(limited) != run_id(early)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["training.stop_metric=train_acc"], "at which value; add training.stop_value=0.99"),
        (["training.stop_value=0.9"], "of which metric; add training.stop_metric=train_acc"),
        (["training.max_seconds=0"], "training.max_seconds=0"),
        (["training.stop_metric=accuracy", "training.stop_value=1"], "train_acc"),
    ],
)
def test_what_cannot_be_is_said(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compose([*TINY, *words])
