"""A run made longer has the weights, bit for bit, and the figures of one of that length."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pandas import DataFrame
from pandas.testing import assert_frame_equal

from normlab.config import run_id
from normlab.errors import ConfigError, RecordError
from normlab.runs import (
    Finished,
    Note,
    Run,
    execute,
    find_run,
    plan_extension,
    read_run,
    read_summary,
    read_weights,
    run_folder,
)
from normlab.runs.folder import STATE_FILE, lacks_kept
from normlab.training import Started
from tests.runs.support import config_in, make, planned, stopped_at

CNN = ("model=cnn", "model.depth=8", "model.width=4", "data.size=8")
KEPT = ("schedule=constant", "output.keep=true", "output.weights=true")
# What a longer run has of its own: where and when it was made, and from what.
OWN = {"seconds", "config", "started", "extended_from", "extended_at"}


def kept(root: Path, *settings: str) -> Run:
    """A finished run with its state."""
    config = config_in(root, *KEPT, *settings)
    make(config)
    return read_run(run_folder(config))


def extended(run: Run, *overrides: str, **options: Any) -> tuple[list[Any], Run]:
    """The events of a run made longer, and what its files say."""
    found = plan_extension(run, overrides, **options)
    events = make(found.config, start=found.start)
    return events, read_run(run_folder(found.config))


def shared(frame: DataFrame, other: DataFrame) -> DataFrame:
    """The rows of steps that another table has, too, without what only one measured there."""
    rows = frame[frame["step"].isin(set(other["step"]))].drop(columns="seconds", errors="ignore")
    return rows.reset_index(drop=True)


def assert_ends_alike(longer: Run, whole: Run) -> None:
    """Weights, evaluations, and the layers' rows of steps at which both were measured."""
    one, two = read_weights(longer.folder), read_weights(whole.folder)
    assert all(torch.equal(one[name], two[name]) for name in two)
    probed = [name for name in whole.metrics if name.startswith("probe_loss")]
    timeless = whole.metrics.drop(columns=["seconds", *probed])
    assert_frame_equal(
        longer.metrics.drop(columns=["seconds", *probed]), timeless, check_exact=True
    )
    both = shared(longer.layers, whole.layers), shared(whole.layers, longer.layers)
    assert len(both[0]) == len(both[1]) > 0
    for column in both[1]:
        known = both[0][column].notna() & both[1][column].notna()
        assert both[0][column][known].tolist() == both[1][column][known].tolist(), column
    last = whole.summary.steps
    at_end = [run.layers[run.layers["step"] == last] for run in (longer, whole)]
    assert_frame_equal(*(rows.reset_index(drop=True) for rows in at_end), check_exact=True)


@pytest.mark.parametrize(
    "settings",
    [
        ("optimizer.momentum=0.9",),
        ("optimizer=adam", "norm=none"),
        ("optimizer=adamw", "optimizer.decay=weights", "optimizer.weight_decay=0.1", "norm=ln"),
        ("norm=bn", "training.clip_norm=0.1", "optimizer.nesterov=true"),
        ("norm.noise=0.5",),
        pytest.param((*CNN, "norm=bn"), marks=pytest.mark.slow),
        ("schedule.warmup_steps=3", "schedule.warmup_factor=0.1"),
        ("training.epochs=null", "training.steps=7"),  # in the midst of an epoch
    ],
    ids=" ".join,
)
def test_it_ends_bit_for_bit_like_a_run_of_that_length(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    run = kept(tmp_path / "short", *settings)
    events, longer = extended(run, "training.epochs=5")
    (started,) = (event for event in events if isinstance(event, Started))
    assert (started.resumed, started.steps) == (run.summary.steps, 20)
    assert not [event for event in events if isinstance(event, Note)]
    length = ("training.epochs=5", "training.steps=null")
    kinds = [s for s in settings if not s.startswith(("training.epochs", "training.steps"))]
    whole_config = config_in(tmp_path / "whole", *KEPT, *kinds, *length)
    make(whole_config)
    whole = read_run(run_folder(whole_config))
    assert longer.folder.name == whole.folder.name != run.folder.name
    assert_ends_alike(longer, whole)
    assert longer.summary.model_dump(exclude=OWN | {"evidence"}) == whole.summary.model_dump(
        exclude=OWN | {"evidence"}
    )
    assert longer.summary.extended_from == run.summary.run_id
    assert longer.summary.extended_at == run.summary.steps
    assert (whole.summary.extended_from, whole.summary.extended_at) == (None, None)
    assert longer.summary.seconds > run.summary.seconds
    # What was measured before the end is there as it was.
    before = run.layers[run.layers["step"] < run.summary.steps]
    assert_frame_equal(longer.layers[: len(before)], before, check_exact=True)


def test_a_run_is_made_longer_again_and_again(tmp_path: Path) -> None:
    run = kept(tmp_path / "short")
    _, second = extended(run, "training.epochs=3")
    _, third = extended(second, "training.steps=20")
    whole_config = config_in(tmp_path / "whole", *KEPT, "training.epochs=null", "training.steps=20")
    make(whole_config)
    assert_ends_alike(third, read_run(run_folder(whole_config)))
    assert (third.summary.extended_from, third.summary.extended_at) == (second.folder.name, 12)


def test_one_that_is_stopped_goes_on_and_still_says_from_what(tmp_path: Path) -> None:
    run = kept(tmp_path, "runtime.checkpoint_seconds=1000")
    found = plan_extension(run, ["training.epochs=5"])
    for _ in execute(found.config, start=found.start, stop=stopped_at(3), progress_seconds=0):
        pass
    stopped = read_summary(run_folder(found.config))
    assert stopped is not None
    assert stopped.status == "interrupted"
    assert run.summary.steps is not None
    assert stopped.steps is not None
    assert stopped.steps > run.summary.steps
    again = plan_extension(run, ["training.epochs=5"])
    started = next(iter(e for e in make(again.config, start=again.start) if isinstance(e, Started)))
    assert started.resumed == stopped.steps
    longer = read_run(run_folder(found.config))
    assert longer.summary.extended_from == run.summary.run_id
    whole = config_in(tmp_path / "whole", *KEPT, "training.epochs=5")
    make(whole)
    assert_ends_alike(longer, read_run(run_folder(whole)))


def test_a_sweep_takes_the_longer_run_as_finished(tmp_path: Path) -> None:
    run = kept(tmp_path)
    extended(run, "training.epochs=5")
    swept = planned(tmp_path, "schedule=constant", "training.epochs=2,5")
    assert (swept.finished, len(swept.pending)) == (2, 0)


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "multistep"])
def test_a_schedule_of_the_length_is_refused_or_stretched(tmp_path: Path, schedule: str) -> None:
    run = kept(tmp_path, f"schedule={schedule}")
    with pytest.raises(ConfigError, match=rf"^schedule={schedule}: depends on the length.*--stre"):
        plan_extension(run, ["training.epochs=5"])
    found = plan_extension(run, ["training.epochs=5"], stretch=True)
    assert found.config.training.extends == run.summary.run_id
    whole = config_in(tmp_path, *KEPT, f"schedule={schedule}", "training.epochs=5")
    assert run_id(found.config) != run_id(whole)
    _, longer = extended(run, "training.epochs=5", stretch=True)
    steps, rate = 20, whole.optimizer.lr
    rates = {row["step"]: row["lr"] for row in longer.metrics.to_dict("records")}
    for step in (8, 12, 16):
        assert rates[step] == rate * whole.schedule.factor(step, steps)
    assert rates[4] == rate * whole.schedule.factor(4, 8)
    # Its config alone makes it again, from what the shorter one kept.
    make(longer.config, force=True)
    again = read_run(longer.folder)
    assert_ends_alike(again, longer)
    assert again.summary.extended_from == run.summary.run_id
    # Made longer again, the first part is no part of its own schedule.
    with pytest.raises(ConfigError, match="--stretch"):
        plan_extension(longer, ["training.epochs=6"])


def test_a_stretched_run_without_the_shorter_one_is_refused(tmp_path: Path) -> None:
    run = kept(tmp_path, "schedule=cosine")
    found = plan_extension(run, ["training.epochs=5"], stretch=True)
    (run.folder / STATE_FILE).unlink()
    with pytest.raises(ConfigError, match=r"kept no state\.pt to go on from; run it again with"):
        make(found.config)
    (run.folder / "config.yaml").unlink()
    (run.folder / "summary.json").unlink()
    with pytest.raises(ConfigError, match=r"^training\.extends=\w+: \w+: no such run"):
        make(found.config)
    assert not run_folder(found.config).exists()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("optimizer.lr=0.5", r"^optimizer\.lr=0\.5: a run that is made longer keeps all but "),
        ("norm=ln", r"^norm=ln: a run that is made longer keeps all but .*; it has bn$"),
        ("seed=1", r"^seed=1: "),
        ("probes.batch_size=4", r"^probes\.batch_size=4: "),
        ("training.epochs=2", r"^training\.epochs=2: makes 8 steps, and \w+ has 8 already; name"),
        ("training.steps=3", r"^training\.steps=3: makes 3 steps, and \w+ has 8 already; name"),
        ("output.experiment=other", r"^training\.steps: is not given, and \w+ has 8 already"),
        ("training.epoch=3", "training.epoch"),
    ],
)
def test_only_the_length_changes(tmp_path: Path, override: str, told: str) -> None:
    run = kept(tmp_path)
    with pytest.raises(ConfigError, match=told):
        plan_extension(run, [override])


def test_where_it_is_made_and_kept_is_free(tmp_path: Path) -> None:
    run = kept(tmp_path)
    words = ("training.epochs=3", "output.experiment=longer", "runtime.checkpoint_seconds=0")
    _, longer = extended(run, *words)
    assert longer.folder.parent.name == "longer"
    assert longer.config.runtime.checkpoint_seconds == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("norm=none", "optimizer.lr=1e30"), "has diverged, and has no weights to go on from"),
        (
            ("training.stop_metric=train_loss", "training.stop_value=1000"),
            "has stopped, at training.stop_value, where a longer training stops too",
        ),
        (("training.max_seconds=1e-9",), "is timeout; the command that made it goes on with it"),
    ],
)
def test_only_a_finished_run_is_made_longer(
    tmp_path: Path, settings: tuple[str, ...], told: str
) -> None:
    run = kept(tmp_path, *settings)
    assert not (run.folder / STATE_FILE).exists()
    assert not lacks_kept(run.config)  # and is not made again for it
    with pytest.raises(ConfigError, match=told):
        plan_extension(run, ["training.epochs=5"])


def test_a_run_without_a_step_is_told_and_not_taken_as_damaged(tmp_path: Path) -> None:
    run = kept(tmp_path, "training.epochs=0")
    assert not lacks_kept(run.config)
    with pytest.raises(ConfigError, match="has made no step to go on from; make the longer run"):
        plan_extension(run, ["training.epochs=5"])


def test_a_run_that_kept_nothing_is_made_again_where_it_is_asked_for(tmp_path: Path) -> None:
    config = config_in(tmp_path, "schedule=constant")
    make(config)
    run = read_run(run_folder(config))
    with pytest.raises(ConfigError, match=r"kept no state\.pt to go on from; run it again with"):
        plan_extension(run, ["training.epochs=5"])
    asking = config_in(tmp_path, "schedule=constant", "output.keep=true")
    assert lacks_kept(asking)
    note, *_, finished = make(asking)
    assert note == Note("finished before, and made again to keep its weights or state")
    assert isinstance(finished, Finished)
    assert not lacks_kept(asking)
    plan_extension(read_run(run.folder), ["training.epochs=5"])


@pytest.mark.parametrize("damage", ["cut", "of another run", "a list", "a byte"])
def test_a_damaged_state_is_one_line(tmp_path: Path, damage: str) -> None:
    run = kept(tmp_path)
    file = run.folder / STATE_FILE
    content, good = file.read_bytes(), torch.load(file, weights_only=True)
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "a byte":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + b"\xff" * 64 + content[middle + 64 :])
    elif damage == "a list":
        torch.save([1], file)
    else:
        torch.save({**good, "maker": {**good["maker"], "run": "0123456789"}}, file)
    with pytest.raises(RecordError, match=r"state\.pt: damaged \(.*\); run it again with") as told:
        plan_extension(run, ["training.epochs=5"])
    assert "\n" not in str(told.value)


def test_a_state_of_another_network_is_told_and_no_run_is_made_from_the_start(
    tmp_path: Path,
) -> None:
    run = kept(tmp_path)
    file = run.folder / STATE_FILE
    good = torch.load(file, weights_only=True)
    torch.save({**good, "state": {**good["state"], "model": {}}}, file)
    found = plan_extension(run, ["training.epochs=5"])
    with pytest.raises(RecordError, match="what it kept is not of this network; run it again"):
        make(found.config, start=found.start)
    assert read_summary(run_folder(found.config)) is None


def test_what_was_made_otherwise_is_said(tmp_path: Path) -> None:
    run = kept(tmp_path)
    file = run.folder / STATE_FILE
    good = torch.load(file, weights_only=True)
    torch.save({**good, "maker": {**good["maker"], "device": "cuda", "threads": 4}}, file)
    events, longer = extended(run, "training.epochs=3")
    (note,) = (event.text for event in events if isinstance(event, Note))
    assert note == (
        f"the first 8 steps, those of {run.summary.run_id}, were made with another device and "
        "threads; the last bits may differ from a training from the start"
    )
    assert longer.environment["extended_from"]["unlike"] == ["device", "threads"]
    torch.save({**good, "maker": {**good["maker"], "data_sha256": "0"}}, file)
    with pytest.raises(ConfigError, match="was made of other data than are there now"):
        plan_extension(run, ["training.epochs=5"])


def test_other_settings_of_a_run_that_lies_elsewhere_stay(tmp_path: Path) -> None:
    run = kept(tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    moved = read_run(find_run(run.summary.run_id[:6], tmp_path / "after"))
    _, longer = extended(moved, "training.epochs=3")
    assert longer.folder.parent == tmp_path / "after" / "runs"
