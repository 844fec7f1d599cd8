"""Data of one's own name a run by what they hold, wherever they lie."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

from normlab.config import (
    compose,
    compose_grids,
    from_yaml,
    grids,
    overrides_of,
    run_id,
    to_yaml,
    with_overrides,
)
from normlab.data import own as own_module
from normlab.data.npz import Npz
from normlab.errors import ConfigError, DataError
from normlab.runs import Run, Summary
from normlab.runs.trials import words_with
from tests.data.own_sets import arrays, npz, own, png, put
from tests.data.test_data import CPU, one_line

MLP = ("model=mlp", "model.depth=2", "norm=none")


def words(path, *further):
    return ["data=npz", f"data.file='{path}'", *MLP, *further]


def identity(path, *further):
    return run_id(compose(words(path, *further)))


@pytest.fixture
def path(tmp_path):
    return npz(tmp_path / "mine.npz")


def test_a_run_is_named_by_what_its_data_hold(tmp_path, monkeypatch, path):
    here = identity(path)
    moved = tmp_path / "elsewhere/other.npz"
    moved.parent.mkdir()
    shutil.copy(path, moved)
    assert identity(moved) == here
    np.savez_compressed(tmp_path / "packed.npz", **arrays(), notes=np.zeros(3))
    assert identity(tmp_path / "packed.npz") == here
    monkeypatch.chdir(tmp_path)
    assert identity("mine.npz") == here == identity("mine.npz", "data.layout=NHW")
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        changed = arrays()[name]
        changed[3] = (changed[3] + 1) % 3
        assert identity(npz(path, **{name: changed})) != here, name
    assert identity(npz(path)) == here


def test_a_composed_config_says_where_the_data_are_and_what_they_hold(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for written in ("mine.npz", "~/mine.npz", "./mine.npz"):
        data = compose(["data=npz", f"data.file={written}"]).data
        assert isinstance(data, Npz)
        assert data.place.resolve() == path
        assert data.place.is_absolute()
        assert len(data.sha256 or "") == 16
        assert data.image_shape == (1, 4, 4)
    config = compose(words("mine.npz"))
    path.unlink()
    assert from_yaml(to_yaml(config)) == config  # also where the data are gone
    with pytest.raises(DataError, match=r"mine\.npz: cannot be read"):
        compose(words("mine.npz"))


def test_the_hash_may_be_given_and_then_binds(path):
    config = compose(words(path))
    given = f"data.sha256='{config.data.sha256}'"
    assert compose(words(path, given)) == config
    npz(path, **arrays(seed=1))
    with pytest.raises(DataError) as error:
        compose(words(path, given))
    other = compose(words(path)).data.sha256
    assert one_line(error) == (
        f"data.sha256={config.data.sha256}: data.file={path} holds other images or labels "
        f"({other}); bring back those of before, or leave data.sha256 out"
    )
    with pytest.raises(DataError):  # a worker that finds other data than were there at first
        config.data.load(CPU)


def test_a_sweep_reads_its_data_once(monkeypatch, path):
    read, looked = [], []
    monkeypatch.setattr(Npz, "read", lambda self, real=Npz.read: read.append(1) or real(self))
    monkeypatch.setattr(Npz, "files", lambda self, real=Npz.files: looked.append(1) or real(self))
    npz(path, **arrays(seed=2))
    configs = list(compose_grids(grids(words(path, "seed=range(100)"))))
    assert len({run_id(config) for config in configs}) == 100
    assert len(read) == 1
    assert len(looked) <= 2


def test_other_data_are_not_looked_at(monkeypatch):
    for name in ("_read_once", "_hash_once", "_told_once"):
        monkeypatch.setattr(own_module, name, None)
    compose(["data=digits"])


def test_a_changed_setting_leaves_the_data_alone_unless_it_says_what_is_read(tmp_path, path):
    config = compose(words(path))
    other = npz(tmp_path / "other.npz", **arrays(shape=(5, 5)))
    changed = with_overrides(config, [f"data.file='{other}'"])
    assert changed == compose(words(other))
    assert with_overrides(config, ["data=digits"]).data.name == "digits"
    path.unlink()
    longer = with_overrides(config, ["training.epochs=3", "data.train_size=null"])
    assert longer.data == config.data


def test_the_overrides_of_a_run_leave_out_what_its_files_tell(path):
    config = compose(words(path, "data.seed=3"))
    repeated = overrides_of(config)
    assert compose(repeated) == config
    assert not [word for word in repeated if "sha256" in word or "shape" in word]


def test_advice_on_a_run_whose_file_was_named_from_elsewhere(tmp_path, monkeypatch, path):
    """The command that it is put behind names the file in full then."""
    config = compose(words(path))
    environment = {"command": ["normlab", "run", *words("mine.npz")]}
    summary = Summary(run_id=run_id(config), status="finished", config=config.model_dump())
    run = Run(tmp_path, config, environment, DataFrame(), DataFrame(), summary)
    for folder, file in ((tmp_path, "mine.npz"), (Path("/"), str(path))):
        monkeypatch.chdir(folder)
        command = words_with(run, "optimizer.lr=0.5")
        assert f"data.file={file}" in [word.replace("'", "") for word in command]
        assert command[-1] == "optimizer.lr=0.5"


def test_where_the_data_lie_has_to_be_said():
    for name, key, example in (
        ("npz", "file", "FILE.npz"),
        ("folder", "root", "FOLDER"),
        ("parquet", "root", "FOLDER"),
    ):
        with pytest.raises(ConfigError) as error:
            compose([f"data={name}"])
        assert one_line(error) == f"data.{key}=null: where the data lie; add data.{key}={example}"
    with pytest.raises(DataError) as error:
        compose(words("~nobody-of-this-name/x.npz"))
    assert one_line(error) == "data.file=~nobody-of-this-name/x.npz: there is no such home folder"


def test_a_folder_with_a_changed_file_is_another_run(tmp_path):
    def folder(**changes):
        images = {f"train/{c}/{i}.png": png(np.full((4, 4), i)) for c in "ab" for i in range(4)}
        images |= {f"test/{c}/0.png": png(np.full((4, 4), 9)) for c in "ab"}
        root = put(tmp_path / "photos", images | changes)
        return compose(["data=folder", f"data.root='{root}'", *MLP])

    before = folder()
    changed = folder(**{"train/a/1.png": png(np.full((4, 4), 77))})
    assert run_id(changed) != run_id(before)
    assert run_id(folder()) == run_id(before)
    assert "photos" in before.data.title


@pytest.mark.parametrize("classes", [2, 1000])
def test_any_number_of_classes(tmp_path, classes):
    content = arrays(train=2 * classes, test=classes, classes=classes)
    config = compose(words(npz(tmp_path / "k.npz", **content)))
    got = config.data.load(CPU)
    assert got.classes == classes
    assert got.train_labels.bincount().tolist() == [2] * classes


def test_training_samples_are_counted_before_a_run(tmp_path):
    file = npz(tmp_path / "a.npz")
    assert own("npz", file).training_samples() == 12
    assert own("npz", file, test_share=0.25).training_samples() == 9
    assert own("npz", file, train_size=6).training_samples() == 6
    images = {f"train/{c}/{i}.png": png(np.full((4, 4), 9)) for c in "ab" for i in range(5)}
    assert own("folder", put(tmp_path / "photos", images), test_share=0.2).training_samples() == 8


@pytest.mark.parametrize("kind", ["parquet", "folder"])
def test_a_file_in_place_of_its_folder(tmp_path, kind):
    file = tmp_path / "train-0.parquet"
    file.touch()
    with pytest.raises(DataError) as error:
        own(kind, file).pinned()
    assert one_line(error) == (
        f"data.root={file}: is a file; name its folder, data.root={tmp_path}"
    )
