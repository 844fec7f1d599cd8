"""`normlab.watch` from a script: what it shows, draws and writes."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import normlab
from normlab.errors import ConfigError, RecordError
from tests.show.terminal.printing import text_of
from tests.tools.golden import answer

LOSS: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy
STEPS = 12


def deep(*norm: nn.Module, depth: int = 12) -> nn.Sequential:
    """A narrow plain net, whose gradient vanishes without a norm."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(8, 8), *(nn.BatchNorm1d(8) for _ in norm), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(8, 2))


def data() -> tuple[Tensor, Tensor]:
    x = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()


def train(model: nn.Module, steps: int = STEPS, lr: float = 0.1) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr)
    x, y = data()
    for _ in range(steps):
        optimizer.zero_grad()
        LOSS(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def watched(model: nn.Module, **options: Any) -> normlab.Watch:
    with normlab.watch(model, probe=(*data(), LOSS), **options) as watch:
        train(model)
    return watch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings, one of which fails."""
    place = tmp_path_factory.mktemp("watched")
    for name, norm in (("plain", ()), ("norm", (1,))):
        watched(deep(*norm), out=place / name, settings={"model.residual": False})  # type: ignore[arg-type]
    return place


def test_a_net_whose_gradient_vanishes_is_told_from_one_with_norm() -> None:
    plain, normed = watched(deep()), watched(deep(nn.BatchNorm1d(8)))
    assert plain.diagnosis().verdict == "vanishing"
    assert plain.diagnosis().cause == "vanishing_at_init"
    assert str(plain.diagnosis()).endswith("Gradients vanish at init.")
    assert normed.diagnosis().verdict == "learns"
    assert "neither vanishes nor explodes" in normed.diagnosis().reason


def test_it_shows_itself_and_its_layers() -> None:
    watch = watched(deep())
    assert repr(watch) == f"<Watch Sequential: 13 weights, step {STEPS}>"
    assert str(watch).startswith("Sequential, ")
    assert "δ at step 12" in text_of(watch, 80)
    table = str(watch.table())
    assert [line.split()[:2] for line in table.splitlines()[3:6]] == [
        ["1", "0"],
        ["2", "2"],
        ["3", "4"],
    ]
    assert watch._repr_html_().startswith('<div class="normlab">')
    assert "‖∇W‖" in watch.table()._repr_html_()


def test_it_is_drawn_while_it_goes_on_and_afterwards() -> None:
    model = deep(depth=4)
    with normlab.watch(model, probe=(*data(), LOSS)) as watch:
        train(model, 20)
        so_far = watch.plot("heatmap").to_dict()
    steps = {row["step"] for rows in so_far["datasets"].values() for row in rows}
    assert {0, 1, 2, 3, 4, 6, 8, 11} <= steps
    ended = watch.plot().to_dict()
    places = {row["when"] for rows in ended["datasets"].values() for row in rows}
    assert places == {"at init", "at the end"}
    with pytest.raises(ConfigError, match=r"^probe none_such: no such probe"):
        watch.plot(probe="none_such")


def test_the_commands_take_its_folder(folder: Path) -> None:
    shown = answer(["show", str(folder / "plain")])
    assert "vanishing. The probe batch's loss went from" in shown
    assert "normlab doctor" not in shown
    listed = answer(["ls", str(folder)])
    assert "Sequential" in listed
    assert "vanishing_at_init" in listed
    assert "seed=–" in listed  # which nobody has told
    compared = answer(["compare", str(folder), "--rows", "norm", "--metric", "gradient_ratio_end"])
    assert compared.splitlines()[0].split() == ["norm", "ratio", "end"]
    assert [line.split()[0] for line in compared.splitlines()[2:4]] == ["none", "bn"]
    assert "no-norm plain" in answer(["plot", "gradients", str(folder)])
    answer(["report", str(folder), "-o", str(folder / "page.html")])
    assert "no-norm plain" in (folder / "page.html").read_text(encoding="utf-8")


def test_it_is_a_run_without_a_config(folder: Path) -> None:
    found = normlab.results(folder, where=["norm=bn"])
    (run,) = found
    assert run.diagnosis.reason.startswith("The probe batch's loss")
    assert len(run.layers) == run.summary.layers * (STEPS + 1)
    with pytest.raises(RecordError, match="a training that normlab only watched"):
        _ = run.config


def test_a_folder_that_holds_a_run_is_kept(folder: Path) -> None:
    before = (folder / "plain/summary.json").read_bytes()
    with pytest.raises(RecordError, match="holds a run already; name another folder, or give"):
        normlab.watch(deep(), out=folder / "plain")
    with pytest.raises(RecordError, match="is not empty; name a folder for this training alone"):
        normlab.watch(deep(), out=folder)
    assert (folder / "plain/summary.json").read_bytes() == before


def test_a_folder_is_given_up_where_that_is_asked_for(tmp_path: Path) -> None:
    watched(deep(), out=tmp_path / "one")
    assert watched(deep(depth=2), out=tmp_path / "one", overwrite=True).folder == tmp_path / "one"
    assert normlab.Run(tmp_path / "one").summary.layers == 3
    assert {file.name for file in (tmp_path / "one").iterdir()} == {
        *("config.yaml", "environment.json", "layers.parquet", "metrics.parquet", "summary.json")
    }


def test_a_training_that_goes_on_is_running(tmp_path: Path) -> None:
    model = deep(depth=2)
    with normlab.watch(model, out=tmp_path / "one", settings={"norm": "mine", "seed": 7}):
        train(model)
        frame = normlab.results(tmp_path).frame
        assert frame[["status", "norm", "seed"]].to_numpy().tolist() == [["running", "mine", 7]]
    assert normlab.results(tmp_path).frame["status"].tolist() == ["finished"]


def test_a_training_that_fails_says_so(tmp_path: Path) -> None:
    model = deep(depth=2)

    def fail() -> None:
        with normlab.watch(model, probe=(*data(), LOSS), out=tmp_path / "one"):
            train(model)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail()
    summary = normlab.Run(tmp_path / "one").summary
    assert (summary.status, summary.verdict) == ("failed", None)
    assert summary.reason.startswith("ZeroDivisionError: division by zero")


def test_figures_of_ones_own(tmp_path: Path) -> None:
    model = deep(depth=2)
    with normlab.watch(model, out=tmp_path / "one") as watch:
        train(model)
        watch.log(train_acc=0.75, test_acc=0.5, epoch=1)
        with pytest.raises(
            ConfigError, match=r"^log\(accuracy=…\): no such figure; choices: epoch"
        ):
            watch.log(accuracy=1.0)
    row = watch.metrics().iloc[-1]
    assert (row["step"], row["train_acc"], row["epoch"], row["lr"]) == (STEPS, 0.75, 1.0, 0.1)
    assert normlab.Run(tmp_path / "one").summary.test_acc == 0.5
    shown = answer(["show", str(tmp_path / "one")])
    assert [line.strip() for line in shown.splitlines() if line.startswith("train ")] == [
        "train    accuracy 0.7500"
    ]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"seed": 1.5}, "settings: seed=1.5; must be a whole number"),
        ({"model.depth": "x"}, "settings: model.depth='x'; must be a whole number"),
        ({"norm": ["bn"]}, "settings: norm is a list; must be a number, a text, True or False"),
        (
            {"training": 3},
            "settings: training is a group; give one of its keys, such as training.name",
        ),
        ({1: 2}, "settings: 1 is no key such as norm or model.width"),
    ],
)
def test_settings_that_cannot_be(settings: dict[Any, Any], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        normlab.watch(deep(), settings=settings)
    assert str(refused.value) == line


def test_figures_of_one_step_are_one_row() -> None:
    model = deep(depth=2)
    with normlab.watch(model, probe=(*data(), LOSS)) as watch:
        train(model, 3)
        watch.log(train_acc=0.5)
        watch.log(test_acc=0.25)
        assert watch.metrics().iloc[-1][["step", "train_acc", "test_acc"]].tolist() == [
            3,
            0.5,
            0.25,
        ]
    rows = watch.metrics()
    assert rows["step"].tolist() == [0, 1, 2, 3]
    assert rows.iloc[-1][["train_acc", "test_acc"]].tolist() == [0.5, 0.25]
    assert rows["probe_loss_train_mode"].notna().all()


def test_it_is_exported_as_runs_are(folder: Path, tmp_path: Path) -> None:
    answer(["export", "jsonl", str(folder), "-o", str(tmp_path / "runs.jsonl")])
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text("utf-8").splitlines()]
    begun = [line for line in lines if line["event"] == "started"]
    assert [line["config"]["norm"]["name"] for line in begun] == ["bn", "none"]
    frame = normlab.results(folder, where=["norm=bn"])[0].layers
    frame = frame.sort_values("step", kind="stable")
    told = [line for line in lines if line["run_id"] == begun[0]["run_id"]]
    layers = [line for line in told if line["event"] == "layer"]
    assert [line["grad_norm"] for line in layers] == [
        None if math.isnan(value) else value for value in frame["grad_norm"]
    ]
    answer(["export", "csv", str(folder), "-o", str(tmp_path / "csv")])
