"""TensorBoard's files, read back with TensorBoard."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normlab.analysis import export, read_results
from normlab.config import PROBES
from normlab.runs import read_run
from normlab.vocabulary import METRICS

pytest.importorskip("tensorboard")


def written(folder: Path) -> dict[str, list[Path]]:
    """The event files by the folder that they lie in."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*tfevents*")):
        found.setdefault(str(file.parent.relative_to(folder)), []).append(file)
    return found


def opened(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def single(value: float) -> float:
    """As an event holds it: in single precision."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def test_every_value_is_read_back_at_its_step(made: Path, tmp_path: Path) -> None:
    frame = read_results([made])[0]
    told = export(frame, "tensorboard", str(tmp_path))
    assert (told.runs, told.place) == (4, str(tmp_path))
    folders = written(tmp_path)
    assert set(folders) == {
        *(".", "runs/bn plain lr=0.1 clip_norm=– depth=4 seed=0"),
        "runs/bn plain lr=0.1 clip_norm=0.5 depth=4 seed=1",
        "runs/no-norm plain lr=1e+30 clip_norm=– depth=4 seed=0",
        "other/bn plain depth=4 seed=0",
    }
    values = 0
    for name, (file,) in folders.items():
        if name == ".":
            continue
        run = read_run(next(made.glob(f"{name.split('/')[0]}/{file.name.split('.')[-1]}")))
        events = opened(file.parent)
        found = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
        values += sum(map(len, found.values()))
        for score in ("train_acc", "train_loss", "test_acc", "test_loss", "lr"):
            steps = [event.step for event in found[score]]
            assert steps == run.metrics["step"].tolist()
            expected = [single(value) for value in run.metrics[score]]
            np.testing.assert_array_equal([event.value for event in found[score]], expected)
        layers = run.layers
        for probe in (name for name in layers if name in PROBES):
            for (layer, own), rows in layers.groupby(["layer", "name"]):
                rows = rows[rows[probe].notna()]
                if len(rows):
                    series = found.pop(f"{probe}/{layer} {own}")
                    assert [event.step for event in series] == rows["step"].tolist()
                    np.testing.assert_array_equal(
                        [event.value for event in series], [single(v) for v in rows[probe]]
                    )
        assert set(found) <= set(run.metrics)
        seconds = run.metrics["seconds"].to_numpy()
        times = [event.wall_time for event in found["train_acc"]]
        np.testing.assert_allclose(np.diff(times), np.diff(seconds), atol=1e-4)
    assert told.rows == values


def test_a_diverged_run_has_a_loss_that_is_no_number_and_says_why(
    made: Path, tmp_path: Path
) -> None:
    frame = read_results([made])[0]
    export(frame[frame["norm"] == "none"], "tensorboard", str(tmp_path))
    (folder,) = tmp_path.glob("runs/*")
    events = opened(folder)
    assert math.isnan(events.Scalars("train_loss")[-1].value)
    (verdict,) = events.Tensors("verdict")
    text = verdict.tensor_proto.string_val[0].decode()
    assert "| verdict | diverged |" in text
    assert frame.loc[frame["norm"] == "none", "reason"].iloc[0] in text


def test_hyperparameters_are_those_of_the_config(made: Path, tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    export(read_results([made])[0], "tensorboard", str(tmp_path))

    def content(folder: Path, tag: str) -> Any:
        about = opened(folder).SummaryMetadata(tag)
        return about.plugin_data.content

    columns = metadata.parse_experiment_plugin_data(content(tmp_path, metadata.EXPERIMENT_TAG))
    names = [info.name for info in columns.hparam_infos]
    assert names == ["norm", "optimizer.lr", "training.clip_norm", "seed"]
    assert {info.name.tag for info in columns.metric_infos} <= set(METRICS)
    folder = tmp_path / "other" / "bn plain depth=4 seed=0"
    start = content(folder, metadata.SESSION_START_INFO_TAG)
    hparams = metadata.parse_session_start_info_plugin_data(start).hparams
    assert hparams["norm"].string_value == "bn"
    assert hparams["model.depth"].number_value == 4
    assert hparams["model.residual"].bool_value is False
    end = metadata.parse_session_end_info_plugin_data(
        content(folder, metadata.SESSION_END_INFO_TAG)
    )
    assert end.status == 1  # success


def test_a_second_export_writes_the_same_files_also_under_new_names(
    made: Path, tmp_path: Path
) -> None:
    frame = read_results([made / "runs"])[0]
    export(frame, "tensorboard", str(tmp_path))
    before = {file: file.read_bytes() for files in written(tmp_path).values() for file in files}
    export(frame, "tensorboard", str(tmp_path))
    after = {file: file.read_bytes() for files in written(tmp_path).values() for file in files}
    assert before == after
    (tmp_path / "runs" / "mine").mkdir()
    (tmp_path / "runs" / "mine" / "events.out.tfevents.1.host").touch()
    some = frame[frame["norm"] == "bn"]  # without the third they have other names
    export(some, "tensorboard", str(tmp_path))
    names = set(written(tmp_path))
    assert {"runs/mine", "runs/bn plain clip_norm=0.5 depth=4 seed=1"} < names
    assert len(names) == len(before) + 1
    assert "runs/bn plain lr=0.1 clip_norm=0.5 depth=4 seed=1" not in names


def test_it_is_written_without_torch_and_tensorflow(made: Path, tmp_path: Path) -> None:
    code = (
        "import sys, normlab\n"
        f"normlab.results({str(made)!r}).export('tensorboard', {str(tmp_path)!r})\n"
        "assert not {'torch', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
