"""What the program answered before its modules were moved, to hold every later version against.

    python -m tests.tools.golden FOLDER        writes all golden files into a folder

A change that is meant is written anew into tests/golden, and its commit says why.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tools.synthetic_results import summary, write_runs

CLAIMS_JUDGED = ("C08", "C09", "C10", "C11", "C13", "C14", "C15", "C17", "C18")
COMPARISONS: dict[str, tuple[str, ...]] = {
    "compare.json": ("compare", "--format", "json"),
    "compare.csv": ("compare", "--format", "csv"),
    "compare.md": (
        *("compare", "--format", "md"),
        *("--metric", "train_acc,gradient_ratio_init,test_loss"),
    ),
    "compare.latex": ("compare", "--format", "latex", "--metric", "train_acc,gradient_ratio_end"),
    "compare.txt": ("compare", "--metric", "train_acc,gradient_ratio_init,seconds"),
    "baseline.json": ("compare", "--baseline", "norm=none", "--format", "json"),
    "baseline.txt": ("compare", "--baseline", "norm=none"),
    "ls.txt": ("ls", "--limit", "5"),
    "gradients.txt": ("plot", "gradients", "--where", "model.depth=20"),
    "depth.txt": ("plot", "depth"),
    "curves.txt": ("plot", "curves", "--where", "model.depth=8"),
}
NETS: dict[str, tuple[str, ...]] = {
    "mlp-sigmoid-ln": ("model=mlp", "model.depth=6", "model.activation=sigmoid", "norm=ln"),
    "mlp-adam-wn": ("model=mlp", "model.depth=4", "norm=wn", "optimizer=adam", "schedule=onecycle"),
    "cnn-bn": ("model=cnn", "model.depth=8", "norm=bn", "model.width=4"),
    "resnet-pre-gn": (
        *("model=resnet", "model.depth=8", "model.block=pre", "norm=gn", "norm.groups=2"),
        *("model.width=4", "model.shortcut=B", "training.clip_norm=1", "optimizer.nesterov=true"),
    ),
    "resnet-in-after": (
        *("model=resnet", "model.depth=8", "norm=in", "norm.position=after", "model.width=4"),
        *("model.init=orthogonal", "schedule=multistep", "optimizer=adamw"),
    ),
}
_SMALL = (
    *("data=gaussian", "data.train_size=64", "data.test_size=16", "data.size=8"),
    *("training.batch_size=16", "training.epochs=2", "probes.batch_size=8", "runtime.device=cpu"),
    *("output.weights=true", "output.experiment=golden", "probes.snapshots=4"),
)


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def answer(words: Sequence[str]) -> str:
    """What a command line prints on standard output, 100 columns wide."""
    from normlab.cli import main

    out = io.StringIO()
    before, columns = sys.argv, os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    sys.argv = ["normlab", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main()
    finally:
        sys.argv = before
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    return out.getvalue()


def run_ids() -> dict[str, list[str]]:
    """The run ids of every experiment's points, in order."""
    from normlab.config import compose_grids, config_folder, grids, run_id

    found = {}
    for file in sorted((config_folder() / "experiment").glob("*.yaml")):
        several = grids([f"experiment={file.stem}"])
        found[file.stem] = [run_id(config) for config in compose_grids(several)]
    return found


def choice_ids() -> dict[str, str]:
    """The run id of the default config with each choice of each group."""
    from normlab.config import DATA_SETS, compose, group_choices, run_id
    from normlab.config.schema import GROUPS

    # Data of one's own name a run by what they hold.
    own = [name for name, part in DATA_SETS.items() if part.told_by_files]
    return {
        f"{group}={choice}": run_id(compose([f"{group}={choice}"]))
        for group, choices in group_choices().items()
        if group in GROUPS
        for choice in choices
        if not (group == "data" and choice in own)
    }


def commands() -> list[tuple[str, ...]]:
    """Every command that the help lists, subcommands too."""
    import typer.main

    from normlab.cli import app

    found: list[tuple[str, ...]] = [()]
    for name, command in sorted(typer.main.get_command(app).commands.items()):  # type: ignore[attr-defined]
        if command.hidden:
            continue
        found.append((name,))
        found += [(name, below) for below in sorted(getattr(command, "commands", {}))]
    return found


def help_maker() -> str:
    """The versions on which the looks of a help page depend."""
    import importlib.metadata

    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("typer", "rich"))


def helps() -> str:
    from normlab.cli import app

    pages = []
    for words in commands():
        out = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
            patch.setenv("COLUMNS", "100")
            app([*words, "--help"], prog_name="normlab", standalone_mode=False)
        pages.append(f"$ normlab {' '.join([*words, '--help'])}\n{out.getvalue()}")
    return "\n".join(pages)


def write_claim_runs(root: Path) -> None:
    """Finished runs of claims with drawn figures, as if they had been trained."""
    from normlab.config import compose_grids, grids, run_id

    draw = random.Random(1)
    for name in dict.fromkeys(
        "C14" if claim in ("C15", "C17") else claim for claim in CLAIMS_JUDGED
    ):
        for config in compose_grids(grids([f"experiment={name}"])):
            content = summary(config.model_dump(mode="json"), draw)
            folder = root / name / run_id(config)
            folder.mkdir(parents=True)
            (folder / "summary.json").write_text(json.dumps(content), encoding="utf-8")
            if name == "C14":
                write_ratio(folder, content["gradient_ratio_first_epoch"])
            if config.output.weights:  # without them it would be made again
                (folder / "weights.pt").touch()


def write_ratio(folder: Path, ratio: float) -> None:
    """layers.parquet of one snapshot after the first epoch, R = ratio."""
    from pandas import DataFrame

    layers = {"step": 11, "layer": [1, 2, 3], "name": "layer", "kind": "conv"}
    DataFrame(layers | {"delta_rms": [ratio, 1.0, 1.0]}).to_parquet(folder / "layers.parquet")


def comparisons() -> dict[str, str]:
    """What is said of a results folder of drawn figures."""
    with tempfile.TemporaryDirectory() as name, in_folder(Path(name)):
        write_runs(120, Path("results"), with_tables=True)
        return {file: answer(words) for file, words in COMPARISONS.items()}


def verdicts() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as name, in_folder(Path(name)):
        write_claim_runs(Path("results"))
        return {
            f"verify.{form}": answer(["verify", *CLAIMS_JUDGED, "--format", form])
            for form in ("json", "md")
        }


def machine() -> str:
    """What bits depend on."""
    import torch

    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{names[0] if names else '?'}, {capability}, torch {torch.__version__}"


def bits() -> dict[str, Any]:
    """Digests of the weights and tables of a few trained networks."""
    import pandas
    import torch

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, in_folder(Path(name)):
        for net, words in NETS.items():
            answer(["run", *words, *_SMALL, "--force", "--format", "json"])
            (folder,) = Path("results/golden").iterdir()
            digest = hashlib.sha256()
            state = torch.load(folder / "weights.pt", weights_only=True)
            for key, value in sorted(state.items()):
                digest.update(key.encode() + value.numpy().tobytes())
            for table in ("metrics", "layers"):
                frame = pandas.read_parquet(folder / f"{table}.parquet")
                frame = frame.drop(columns=["seconds"], errors="ignore")
                digest.update(frame.to_csv(index=False).encode())
            content = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
            found[net] = {
                "id": folder.name,
                "bits": digest.hexdigest(),
                "verdict": content["verdict"],
                "reason": content["reason"],
            }
            for file in sorted(folder.rglob("*"), reverse=True):
                file.unlink()
            folder.rmdir()
    return {"machine": machine(), "nets": found}


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def write_all(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "ids.json": as_json(run_ids()),
        "choice_ids.json": as_json(choice_ids()),
        "help.txt": f"{help_maker()}\n{helps()}",
        "bits.json": as_json(bits()),
        **comparisons(),
        **verdicts(),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write_all(parser.parse_args().folder)
