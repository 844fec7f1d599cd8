"""What several of these files share: configs, runs as they would be written, waiting."""

import functools
import itertools
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pandas.testing import assert_frame_equal

from normlab.config import Config, compose, grids, run_id
from normlab.runs import (
    Plan,
    Summary,
    execute,
    plan,
    read_lock,
    read_run,
    read_summary,
    read_weights,
    run_folder,
)
from normlab.runs.recorder import Recorder
from normlab.training import METRIC_COLUMNS
from tests.conftest import TINY, replacing

ENDLESS = "training.epochs=1000000"


def config_in(root: Path, *overrides: str) -> Config:
    """A run of a fraction of a second; Hydra composes it once for every root."""
    config = _composed(*overrides)
    output = config.output.model_copy(update={"root": str(root)})
    return config.model_copy(update={"output": output})


@functools.cache
def _composed(*overrides: str) -> Config:
    return compose([*TINY, *overrides])


def planned(root: Path, *overrides: str, **options: bool) -> Plan:
    """A sweep of such runs with two workers."""
    base = [*TINY, "launcher.workers=2", f"output.root='{root}'"]
    return plan(grids(replacing(base, *overrides)), **options)


def make(config: Config, **options: Any) -> list[Any]:
    """A run's events, made to its end."""
    return list(execute(config, **options))


def stopped_at(step: int) -> Callable[[], bool]:
    """A `stop` for `execute` that is true after so many steps of a tiny run.

    It is asked after every step, and in the evaluations at steps 0, 4 and 8 before the one batch of
    the training set and that of the test set.
    """
    before = 2 * (1 + (step - 1) // 4)
    asked = itertools.count(1)
    return lambda: next(asked) == before + step


def killed_at(call: int, names: Sequence[str], work: Callable[[], object]) -> bool:
    """Do work in a forked process that is killed before its nth call of these functions of `os`,
    which `pathlib` calls too; whether it was killed."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    try:
        calls = itertools.count(1)

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def called(*args: Any, **options: Any) -> Any:
                if next(calls) == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **options)

            return called

        for name in names:
            setattr(os, name, counted(getattr(os, name)))
        signal.alarm(600)  # a child that waits for ever must not make the suite wait
        work()
    finally:
        os._exit(0)


# ---------------------------------------------------------------------- as though by a run


SUMMARY = Summary(
    run_id="0123456789", name="MLP-4", status="finished", verdict="trains", steps=1, device="cpu"
)


def metric_row(step: int, value: float = 0.5) -> dict[str, Any]:
    """A row of metrics.parquet."""
    return {**dict.fromkeys(METRIC_COLUMNS, value), "step": step}


def layer_rows(step: int, value: float) -> list[dict[str, Any]]:
    """Rows of layers.parquet."""
    return [
        {"step": step, "layer": i, "name": f"layer{i}", "kind": "conv", "delta_rms": value * i}
        for i in (1, 2)
    ]


def write_run(config: Config, status: str = "finished") -> Path:
    """The folder of a run that has ended so."""
    recorder = Recorder(config, device="cpu", command=["normlab", "run"])
    recorder.add_metrics(metric_row(0))
    recorder.add_layers(layer_rows(0, 0.25))
    recorder.finish(SUMMARY.model_copy(update={"run_id": run_id(config), "status": status}))
    return recorder.folder


# ------------------------------------------------------------------------------- what holds


def assert_same(one: Path, two: Path) -> None:
    """Two runs of one config have the same numbers, bit for bit."""
    first, second = read_run(one), read_run(two)
    assert_frame_equal(
        first.metrics.drop(columns="seconds"),
        second.metrics.drop(columns="seconds"),
        check_exact=True,
    )
    assert_frame_equal(first.layers, second.layers, check_exact=True)
    others = {"seconds", "config", "started"}
    assert first.summary.model_dump(exclude=others) == second.summary.model_dump(exclude=others)
    if first.config.output.weights:
        weights, twins = read_weights(one), read_weights(two)
        assert all(torch.equal(weights[key], twins[key]) for key in weights)


def status_kept(config: Config) -> str | None:
    """What a run's summary says, None where there is none."""
    summary = read_summary(run_folder(config))
    return summary and summary.status


def running(configs: tuple[Config, ...]) -> list[int]:
    """The process numbers of the workers that have got past the first step."""
    locks = [read_lock(run_folder(config)) for config in configs]
    return [lock["pid"] for lock in locks if lock and lock["progress"].get("step", 0) > 0]
