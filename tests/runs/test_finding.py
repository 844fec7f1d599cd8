"""Results folders are walked, links followed without end, and a person's words find a run."""

from pathlib import Path

import pytest

from normlab.errors import RecordError
from normlab.runs import find_run, finished_elsewhere, plan_configs, run_folders, short_id
from tests.runs.support import config_in, write_run


def runs(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "summary.json").write_text(name)


def found(*roots: Path) -> tuple[list[str], list[str]]:
    """Folders and problems, relative to the folder above the first root."""
    problems: list[str] = []
    folders = [place.folder for place in run_folders(roots, problems)]
    start = f"{roots[0].parent}/"
    return [f.replace(start, "") for f in folders], [p.replace(start, "") for p in problems]


def test_linked_experiments_runs_and_files_are_read(tmp_path: Path) -> None:
    runs(tmp_path / "other", "a/1", "b/2", "c/3")
    root = tmp_path / "results"
    runs(root, "here/4")
    (root / "all").symlink_to(tmp_path / "other")
    (root / "here" / "5").mkdir()
    (root / "here" / "5" / "summary.json").symlink_to(
        tmp_path / "other" / "a" / "1" / "summary.json"
    )
    assert found(root) == (
        [
            "results/here/4",
            "results/here/5",
            "results/all/a/1",
            "results/all/b/2",
            "results/all/c/3",
        ],
        [],
    )
    assert found(root / "all", root, root / "here" / "4")[0] == [
        *("all/a/1", "all/b/2", "all/c/3", "here/4", "here/5"),
    ]


def test_a_folder_that_was_walked_already_ends_no_walk(tmp_path: Path) -> None:
    runs(tmp_path, "a/1", "b/2", "c/3")
    assert found(tmp_path / "b", tmp_path) == (["b/2", "a/1", "c/3"], [])


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    root = tmp_path / "results"
    (root / "a run" / "summary.json").mkdir(parents=True)
    for folder, file in (("begun", "lock.json"), ("half", "metrics.parquet"), ("other", "a.png")):
        (root / folder).mkdir()
        (root / folder / file).touch()
    assert found(root) == (
        [],
        [
            "results/a run: summary.json is no regular file",
            "results/begun: just begun, it has no config.yaml yet",
            "results/half: not a run, it has neither config.yaml nor summary.json",
        ],
    )


def test_a_link_makes_no_run_two_and_no_walk_endless(tmp_path: Path) -> None:
    root = tmp_path / "results"
    runs(root, "one/1", "one/2")
    (root / "a link").symlink_to(root / "one")
    (root / "one" / "up").symlink_to(root)
    (root / "one" / "self").symlink_to(root / "one")
    (root / "one" / "3").symlink_to(root / "one" / "1")
    (root / "loop").symlink_to(root / "loop")
    (root / "gone").symlink_to(tmp_path / "nowhere")
    folders, problems = found(root)
    assert folders == ["results/one/1", "results/one/2"]
    assert problems == [f"results/{name}: a link that leads nowhere" for name in ("gone", "loop")]


def test_a_link_leads_to_results_and_not_to_a_whole_disk(tmp_path: Path) -> None:
    runs(tmp_path / "disk", "results/one/1", "home/results/one/2")
    root = tmp_path / "results"
    root.mkdir()
    (root / "disk").symlink_to(tmp_path / "disk")
    assert "results/disk/results/one/1" not in found(root)[0]
    (root / "mine").symlink_to(tmp_path / "disk" / "results")
    assert "results/mine/one/1" in found(root)[0]


def test_hidden_runs_are_named(tmp_path: Path) -> None:
    root = tmp_path / "results"
    runs(root, "one/1", ".old/2", "one/.new")
    (root / ".cache" / "things").mkdir(parents=True)
    assert found(root) == (
        ["results/one/1"],
        ["results/.old: left out, its name begins with a dot"],
    )
    assert found(root / ".old")[0] == [".old/2"]


def test_find_run(tmp_path: Path) -> None:
    one, two = (write_run(config_in(tmp_path, f"seed={seed}")) for seed in (1, 2))
    assert find_run(str(one), tmp_path) == one
    assert find_run(one.name[:6], tmp_path) == one
    assert find_run(two.name, tmp_path) == two
    assert find_run(two.name, two.parent) == two
    for word in ("zzz", ""):
        with pytest.raises(RecordError, match="no such run"):
            find_run(word, tmp_path)
    common = ""
    with pytest.raises(RecordError, match="no such run"):
        find_run(one.name, tmp_path / "nowhere")
    for count in range(200):  # until two runs begin alike
        name = write_run(config_in(tmp_path, f"seed={count + 3}")).name
        common = name[0] if name[0] in (one.name[0], two.name[0]) else common
        if common:
            break
    with pytest.raises(RecordError, match="2 runs begin so: "):
        find_run(common, tmp_path)
    twin = write_run(config_in(tmp_path, "seed=1", "output.experiment=other"))
    assert find_run(twin.name, tmp_path) == twin  # the same run, and the later one


def test_finished_runs_of_other_experiments_are_found(tmp_path: Path) -> None:
    finished = write_run(config_in(tmp_path, "seed=1"))
    write_run(config_in(tmp_path, "seed=2"), "failed")
    write_run(config_in(tmp_path, "seed=3", "output.experiment=other"))
    (tmp_path / "file").touch()
    here = [config_in(tmp_path, f"seed={seed}", "output.experiment=other") for seed in range(4)]
    assert finished_elsewhere(here) == [finished]
    assert finished_elsewhere([config_in(tmp_path, "seed=1")]) == []
    assert finished_elsewhere([config_in(tmp_path / "none", "seed=1")]) == []
    assert plan_configs(here).elsewhere == (finished,)
    assert plan_configs(here, force=True).elsewhere == ()


def test_a_run_is_named_by_so_few_digits_as_find_it(tmp_path: Path) -> None:
    runs(tmp_path, "a/0123456789", "b/0123456789", "b/0123499999", "a/0124000000", "a/ab")
    (tmp_path / "verdicts-small.json").touch()
    starts = {name: short_id(tmp_path / "a" / name) for name in ("0123456789", "0124000000", "ab")}
    assert starts == {"0123456789": "012345", "0124000000": "0124", "ab": "ab"}
    assert find_run("012345", tmp_path).name == "0123456789"
    assert short_id(tmp_path / "nowhere" / "else" / "0123456789") == "0123"
