"""A run whose files others have written, or that are damaged: left out, named, and nothing else."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from normlab.runs import run_folder
from tests.cli.invoking import Result, normlab
from tests.conftest import LAUGHS
from tests.runs.support import config_in, make

Damage = Callable[[Path], object]
Sound = tuple[
    Path, str, str
]  # the folder of two runs, the name of the one that stays and the other


def put(name: str, content: bytes | str) -> Damage:
    """Another content of a file."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return lambda run: (run / name).write_bytes(data)


def summary(**values: Any) -> Damage:
    """Other values in summary.json; `...` takes a key away."""

    def change(run: Path) -> None:
        found = json.loads((run / "summary.json").read_text())
        for key, value in values.items():
            *parts, last = key.split("__")
            place = found
            for part in parts:
                place = place[part]
            if value is ...:
                del place[last]
            else:
                place[last] = value
        (run / "summary.json").write_text(json.dumps(found))

    return change


def pipe(name: str) -> Damage:
    def change(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return change


def link(name: str, target: str) -> Damage:
    def change(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(target)

    return change


def folder(name: str) -> Damage:
    def change(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()

    return change


def table(name: str, /, **columns: Any) -> Damage:
    return lambda run: pd.DataFrame(columns).to_parquet(run / name)


def other_layers(**columns: Any) -> Damage:
    """Other values in whole columns of layers.parquet."""

    def change(run: Path) -> None:
        file = run / "layers.parquet"
        pd.read_parquet(file).assign(**columns).to_parquet(file)

    return change


EVIL = "\x1b]0;owned\x07\x1b[31m[/red] [bold]x :bomb: \u202e"

# What the file says is not to be had: the run is left out of tables, with a line.
UNREADABLE: dict[str, Damage] = {
    "no summary text": put("summary.json", b""),
    "half a summary": put("summary.json", b'{"run_id": "x"'),
    "a deep summary": put("summary.json", "[" * 30_000),
    "a summary that is a list": put("summary.json", "[1, 2]"),
    "a summary that is binary": put("summary.json", bytes(range(256))),
    "half a character": put("summary.json", '{"run_id": "\\ud800", "status": "\ud800"}'),
    "no run id": summary(run_id=...),
    "a status of its own": summary(status="splendid"),
    "a status that is a number": summary(status=3),
    "an accuracy in words": summary(train_acc="good"),
    "a config that is a list": summary(config=[1]),
    "a config without groups": summary(config={"seed": 1}),
    "a group that is a number": summary(config__model=7),
    "no seed": summary(config__seed=...),
    "a seed in words": summary(config__seed="one"),
    "a seed that is true": summary(config__seed=True),
    "a seed of 400 digits": summary(config__seed=10**400),
    "a seed above 64 bits": summary(config__seed=2**70),
    "a version to come": summary(version=10**6),
    "a depth in words": summary(config__model__depth="[/red]"),
    "a depth of HTML": summary(config__model__depth="<script>alert(1)</script>"),
    "a verdict of its own": summary(verdict="[blink]"),
    "a first epoch of its own": summary(verdict_first_epoch="[blink]"),
    "a pipe for a summary": pipe("summary.json"),
    "an endless summary": link("summary.json", "/dev/zero"),
    "a folder for a summary": folder("summary.json"),
    "a summary of megabytes": put("summary.json", b" " * (1 << 22)),
}
# The run's row can be told; what is damaged is another file, or harmless.
READABLE: dict[str, Damage] = {
    "controls that JSON has by a letter": summary(name="a\b\f\rb\x7f"),
    "words that control a terminal": summary(name=EVIL, reason=EVIL, device=EVIL, commit=EVIL),
    "a width of HTML": summary(config__model__width="<script>alert(1)</script>"),
    "a list for a norm": summary(config__norm__name=["bn"]),
    "a huge depth": summary(config__model__depth=10**400),
    "an infinite rate": summary(config__optimizer__lr=float("inf")),
    "infinite seconds": summary(seconds=1e308),
    "negative steps": summary(steps=-5),
    "no config": summary(config=...),
    "no config file": lambda run: (run / "config.yaml").unlink(),
    "a config of aliases": put("config.yaml", LAUGHS),
    "a config that is binary": put("config.yaml", bytes(range(256))),
    "a pipe for a config": pipe("config.yaml"),
    "a deep environment": put("environment.json", "[" * 30_000),
    "an environment that is a list": put("environment.json", "[]"),
    "a command that is a number": put("environment.json", '{"command": 7, "started": 5}'),
    "a start before all": put("environment.json", '{"command": ["x"], "started": "0001-01-01"}'),
    "a pipe for an environment": pipe("environment.json"),
    "layers in words": table("layers.parquet", step=["a"], layer=["b"], name=[1], kind=[2]),
    "layers without rows": table("layers.parquet", step=[], layer=[]),
    "layers of other columns": table("layers.parquet", x=[1]),
    "layers that are text": put("layers.parquet", "no table"),
    "layers cut short": lambda run: (run / "layers.parquet").write_bytes(
        (run / "layers.parquet").read_bytes()[:-30]
    ),
    "layers of huge numbers": other_layers(step=2**62, layer=2**62),
    "layers whose names control a terminal": other_layers(name=EVIL),
    "metrics without rows": table("metrics.parquet", step=[], epoch=[]),
    "a pipe for layers": pipe("layers.parquet"),
    "endless metrics": link("metrics.parquet", "/dev/zero"),
    "a folder for metrics": folder("metrics.parquet"),
    "metrics without steps": table("metrics.parquet", epoch=[1.0]),
    "a lock that is a list": put("lock.json", "[1]"),
    "a pipe for a lock": pipe("lock.json"),
}
DAMAGES = {**UNREADABLE, **READABLE}
COMMANDS = {
    "ls": ("ls", "results"),
    "show": ("show", "{damaged}"),
    "compare": ("compare", "results"),
    "compare json": ("compare", "results", "--format", "json"),
    "plot gradients": ("plot", "gradients", "results", "-o", "x.svg"),
    "plot curves": ("plot", "curves", "results", "-o", "x.svg"),
    "plot curves of it": ("plot", "curves", "{damaged}", "-o", "x.svg"),
    "report": ("report", "results", "-o", "x.html"),
    "export": ("export", "csv", "results", "-o", "x.csv"),
    "export layers": ("export", "csv", "results", "-o", "y.csv", "--layers"),
    "export lines": ("export", "jsonl", "results", "-o", "z.jsonl"),
}
OF_ONE_RUN = {"show", "plot curves of it"}
# Kinds of errors that Python raises: none is for a person.
FOREIGN = re.compile(r"[A-Z]\w*(Error|Exception)\b|Traceback|pydantic|pyarrow|<frozen")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """A results folder of two runs, which tests copy."""
    root = tmp_path_factory.mktemp("sound")
    configs = [config_in(root / "results", f"seed={seed}") for seed in (0, 1)]
    for config in configs:
        make(config)
    whole, broken = (run_folder(config).name for config in configs)
    return root, whole, broken


def check(name: str, damage: str, found: Result, whole: str, broken: str, place: Path) -> None:
    """What holds of a command's answer, where a run of two is damaged so."""
    said = found.stdout + found.stderr
    case = f"{damage}, {name}: exit {found.returncode}\n{said}"
    assert found.returncode in (0, 2), case
    assert not FOREIGN.search(found.stderr), case
    assert "\x1b" not in said, case
    assert "\x07" not in said, case
    assert "\u202e" not in said, case
    assert not re.search("[\b\f\r\x7f]", said), case
    if found.returncode == 2:
        assert len(found.stderr.strip().splitlines()) <= 4, case
    if damage == "words that control a terminal" and name in ("ls", "show"):
        words = " ".join(found.stdout.split())
        assert "[/red] [bold]x :bomb:" in words, case  # as it stands
    if name in OF_ONE_RUN:
        return
    if damage in UNREADABLE:
        assert "1 folder left out as no sound run" in said or broken in found.stderr, case
    if name == "ls":
        assert whole in found.stdout, case
    if name in ("compare json", "export", "report"):
        assert found.returncode == 0, case
    if name == "report":
        assert "<script>alert(1)" not in (place / "x.html").read_text(encoding="utf-8"), case


def try_all(sound: Sound, place: Path, damage: str, commands: dict[str, tuple[str, ...]]) -> None:
    root, whole, broken = sound
    shutil.copytree(root, place, dirs_exist_ok=True)
    DAMAGES[damage](place / "results" / "runs" / broken)
    for name, words in commands.items():
        words = tuple(w.format(damaged=f"results/runs/{broken}") for w in words)
        check(name, damage, normlab(*words, cwd=place), whole, broken, place)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_named_and_breaks_no_list(
    sound: Sound, tmp_path: Path, damage: str
) -> None:
    try_all(sound, tmp_path, damage, {"ls": COMMANDS["ls"]})


@pytest.mark.slow
@pytest.mark.parametrize("damage", READABLE)
def test_a_damaged_run_breaks_no_command(sound: Sound, tmp_path: Path, damage: str) -> None:
    try_all(sound, tmp_path, damage, COMMANDS)


@pytest.mark.slow
def test_what_cannot_be_read_breaks_no_command(tmp_path: Path) -> None:
    """Each in a run of its own, beside a sound one: pictures and a page are made of that alone, and
    are the same whichever was left out, so that they are made once."""
    seeds = range(len(UNREADABLE) + 1)
    configs = [config_in(tmp_path / "results", f"seed={seed}") for seed in seeds]
    for config in configs:
        make(config)
    whole, *broken = (run_folder(config).name for config in configs)
    for name, (damage, harm) in zip(broken, UNREADABLE.items(), strict=True):
        harm(tmp_path / "results" / "runs" / name)
        for command in OF_ONE_RUN:
            words = [w.format(damaged=f"results/runs/{name}") for w in COMMANDS[command]]
            found = normlab(*words, cwd=tmp_path)
            check(command, damage, found, whole, name, tmp_path)
    for command in COMMANDS.keys() - OF_ONE_RUN:
        found = normlab(*COMMANDS[command], cwd=tmp_path)
        said = found.stdout + found.stderr
        assert f"{len(broken)} folders left out as no sound run" in said, f"{command}: {said}"
        check(command, "several", found, whole, "", tmp_path)
