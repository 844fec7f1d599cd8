"""Runs one by one: their order, and what sets each apart."""

from pathlib import Path

import pytest
from pandas import DataFrame

from normlab.analysis import listed, starts
from normlab.analysis.frames import to_frame
from normlab.errors import ConfigError
from tests.analysis.sample import row

STARTS = ("2026-03-01T10:00:00.250+00:00", "2026-03-01T11:00:00+02:00", "2026-03-01T10:00:00+00:00")


@pytest.fixture
def frame() -> DataFrame:
    accuracies = (0.5, None, 0.9)
    rates = ("0.1", "0.01", "0.1")
    return to_frame(
        row(
            f"optimizer.lr={rate}",
            f"model.depth={depth}",
            seed=seed,
            started=start,
            train_acc=accuracy,
            name=f"CNN-{depth} bn on digits",
        )
        for seed, (start, rate, accuracy, depth) in enumerate(
            zip(STARTS, rates, accuracies, (20, 8, 8), strict=True)
        )
    )


def seeds(frame: DataFrame, *how: str) -> list[int]:
    found: list[int] = listed(frame, *how)["seed"].tolist()
    return found


def test_the_newest_first_or_by_any_column(frame: DataFrame) -> None:
    assert seeds(frame) == [0, 2, 1]
    assert seeds(frame, "started") == [1, 2, 0]
    assert seeds(frame, "-train_acc") == [2, 0, 1]
    assert seeds(frame, "train_acc") == [0, 2, 1]  # what has no figure comes last
    assert seeds(frame, "-model.depth")[0] == 0
    assert seeds(frame, "optimizer.lr")[0] == 1
    assert listed(frame, limit=2)["seed"].tolist() == [0, 2]
    with pytest.raises(ConfigError, match="did you mean train_acc"):
        listed(frame, "-trainacc")


def test_a_run_that_does_not_say_its_start_has_that_of_its_files(
    frame: DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "environment.json").write_text('{"started": "2027-01-01T00:00:00+00:00"}')
    older = frame.assign(started=[None, *STARTS[1:]], folder=[str(tmp_path), "", ""])
    assert starts(older)[0].isoformat() == "2027-01-01T00:00:00+00:00"
    assert seeds(older) == [0, 2, 1]


def test_settings_are_what_the_name_does_not_tell_within_an_experiment(frame: DataFrame) -> None:
    assert listed(frame, "seed")["settings"].tolist() == ["lr=0.1", "lr=0.01", "lr=0.1"]
    apart = frame.assign(experiment=["one", "two", "one"])
    assert listed(apart, "seed")["settings"].tolist() == ["", "", ""]


def test_of_other_probes_alone_it_is_said() -> None:
    frame = to_frame([row("probes.snapshots=3"), row("probes.snapshots=7", seed=0)])
    assert sorted(listed(frame)["settings"]) == ["snapshots=3", "snapshots=7"]


def test_probes_are_no_settings_where_another_one_tells_the_runs_apart() -> None:
    chosen = (
        ("optimizer.lr=0.1", "probes.snapshots=3"),
        ("optimizer.lr=0.2", "probes.snapshots=7"),
        ("optimizer.lr=0.2", "probes.snapshots=7", "probes.batch_size=16"),
    )
    frame = to_frame(row(*words, seed=0) for words in chosen)
    by_rate = listed(frame[:2], "optimizer.lr")
    assert by_rate["settings"].tolist() == ["lr=0.1", "lr=0.2"]
    told = ["lr=0.1", "lr=0.2 batch_size=16", "lr=0.2 batch_size=256"]
    assert sorted(listed(frame)["settings"]) == told
    of_seeds = to_frame(row(f"probes.snapshots={3 + seed}", seed=seed) for seed in (0, 1))
    assert listed(of_seeds)["settings"].tolist() == ["", ""]


def test_no_runs() -> None:
    assert listed(to_frame([])).empty
