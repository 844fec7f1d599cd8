"""The functions of the door: what a script calls does what a command does, and prints nothing."""

import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pandas import read_csv
from pandas.testing import assert_frame_equal

import normlab
from normlab.bench import Case
from normlab.errors import BusyError, ConfigError, RecordError
from normlab.runs import Finished, read_weights
from tests.conftest import TINY
from tests.show.terminal.printing import text_of
from tests.tools.synthetic_results import write_runs

TYPES = {
    *("Claim", "Config", "Info", "NormlabError", "Outcome", "Plan", "Run", "Summary", "Verdict"),
    "Verification",
}
FUNCTIONS = """
benchmark(*cases, seconds=60.0, on_case=ignore)
compare(*folders, rows=None, cols=None, metrics=('train_acc',), where=(), sort=None, \
baseline=None, best=(), by=None)
compose(*overrides, config_dir=None)
export(kind, *folders, output=None, where=(), rows='runs', on_problem=ignore)
finished_run(named)
info()
load_plugin(plugin)
model(*overrides, config_dir=None)
plan(*overrides, config_dir=None, force=False, retry_failed=False, most_runs=None)
plan_verification(*words, scale='small', config_dir=None, retry_failed=False)
plot(picture, *names, output, probe=None, metric=None, x=None, title=None, size=None, where=())
read_results(*folders, where=(), on_problem=ignore)
read_run(name=None, root='results')
report(*folders, output='report.html', where=(), ids=None, progress=None, on_problem=ignore)
run(*overrides, config_dir=None, force=False)
run_config(named, force=False, follow=None)
run_plan(planned, force=False, fail_fast=False, on_waiting=ignore, follow=list)
runs_to_draw(picture, *names, where=(), root='results', on_problem=ignore, on_choice=ignore)
sketch(picture, *names, screen=(80, 24), probe=None, metric=None, x=None, title=None, where=())
sweep(*overrides, config_dir=None, force=False, retry_failed=False, fail_fast=False)
theory(*overrides, config_dir=None)
verify(*words, scale='small', config_dir=None, retry_failed=False)
"""
OWN_CLAIM = """
statement: Two layers are as good as three.
experiment: [{tiny}, "model.depth=3,4", "seed=range(2)"]
metric: train_acc("model.depth=3") - train_acc("model.depth=4")
gate: [-1, 1]
"""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert capfd.readouterr() == ("", "")  # a function prints nothing


def written(parameter: inspect.Parameter) -> str:
    """A parameter as in a call: its name, a star before many, its default."""
    star = "*" if parameter.kind is inspect.Parameter.VAR_POSITIONAL else ""
    default: Any = parameter.default
    if default is parameter.empty:
        return f"{star}{parameter.name}"
    if isinstance(default, Path):
        default = str(default)
    return f"{parameter.name}={default.__name__ if callable(default) else repr(default)}"


def test_names_and_signatures_stay() -> None:
    functions = [name for name in normlab.__all__ if inspect.isfunction(getattr(normlab, name))]
    assert set(normlab.__all__) - set(functions) == TYPES
    signatures = {name: inspect.signature(getattr(normlab, name)) for name in sorted(functions)}
    lines = [
        f"{name}({', '.join(map(written, signature.parameters.values()))})"
        for name, signature in signatures.items()
    ]
    assert lines == FUNCTIONS.strip().splitlines()
    for name in normlab.__all__:
        assert getattr(normlab, name).__doc__, name


def test_no_name_is_a_modules() -> None:
    """`normlab.runs` would be the function or the package, by what was imported first."""
    modules = {file.stem for file in Path(normlab.__file__).parent.iterdir()}
    assert not modules & set(normlab.__all__)


def test_all_types_are_known_to_a_type_checker() -> None:
    assert Path(normlab.__file__).with_name("py.typed").exists()


def test_a_run_is_made_once_and_then_read() -> None:
    made = normlab.run(*TINY)
    assert made.summary.status == "finished"
    assert made.folder == Path("results/runs") / made.summary.run_id
    file = made.folder / "summary.json"
    before = file.stat().st_mtime_ns
    again = normlab.run(*TINY)
    assert file.stat().st_mtime_ns == before
    assert again.summary == made.summary
    assert normlab.read_run().summary == made.summary
    assert normlab.read_run(made.summary.run_id[:5]).config == made.config
    normlab.run(*TINY, force=True)
    assert file.stat().st_mtime_ns > before


@pytest.mark.parametrize(
    "settings", [["norm=bn"], ["norm=none", "optimizer.lr=1e30"], ["probes.measure=[act_mean]"]]
)
def test_a_run_that_has_just_ended_is_as_its_files_say(settings: list[str]) -> None:
    made = normlab.run(*TINY, *settings)
    read = normlab.read_run(str(made.folder))
    assert_frame_equal(made.metrics, read.metrics)
    assert_frame_equal(made.layers, read.layers)
    assert (made.config, made.environment, made.summary, made.folder) == (
        *(read.config, read.environment, read.summary),
        read.folder,
    )


def test_a_finished_run_is_not_made_again_unasked() -> None:
    config = normlab.compose(*TINY)
    assert normlab.finished_run(config) is None
    kinds = []

    def follow(events: Iterator[Any]) -> Finished:
        for event in events:
            kinds.append(type(event).__name__)
        return event

    made = normlab.run_config(config, follow=follow)
    assert kinds[0] == "Started"
    assert kinds[-1] == "Finished"
    found = normlab.finished_run(config)
    assert found is not None
    assert found.summary == made.summary
    with pytest.raises(BusyError, match="finished already"):
        normlab.run_config(config)


def test_a_run_is_made_in_another_thread() -> None:
    """Where no signal can be heard."""
    made: list[normlab.Run] = []
    thread = threading.Thread(target=lambda: made.append(normlab.run(*TINY)))
    thread.start()
    thread.join()
    assert made[0].summary.status == "finished"


def test_ctrl_c_stays_one_and_what_was_measured_is_kept() -> None:
    config = normlab.compose(*TINY)

    def strike(events: Iterator[Any]) -> Finished:
        for event in events:
            if type(event).__name__ == "Evaluation":
                raise KeyboardInterrupt
        raise AssertionError("it has an evaluation")

    with pytest.raises(KeyboardInterrupt):
        normlab.run_config(config, follow=strike)
    assert normlab.read_run().summary.status == "interrupted"
    assert normlab.finished_run(config) is None


def test_a_model_has_the_weights_that_its_run_begins_with() -> None:
    """Without a step the weights that are kept are the first ones."""
    settings = (*TINY, "norm=bn", "optimizer.lr=0", "output.weights=true", "seed=3")
    network = normlab.model(*settings)
    kept = read_weights(normlab.run(*settings).folder)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, kept[name]), name


def test_a_grid_is_planned_swept_compared_and_exported() -> None:
    grid = (*TINY, "launcher.workers=1", "norm=none,bn", "seed=1,2")
    planned = normlab.plan(*grid)
    assert len(planned.pending) == len(planned.configs) == 4
    assert not Path("results").exists()
    with pytest.raises(ConfigError, match="has 4 runs, above 3"):
        normlab.plan(*grid, most_runs=3)
    for config in planned.configs:
        normlab.run_config(config)
    assert normlab.plan(*grid).finished == 4
    assert normlab.sweep(*grid) == []
    frame = normlab.read_results(where=["norm=bn"])
    assert set(frame["norm"]) == {"bn"}
    assert len(frame) == 2
    table = normlab.compare("results/runs", metrics=["train_loss"])
    assert list(table["n"]) == [2, 2]
    assert normlab.compare(baseline="norm=none")["n"].tolist() == [2]
    exported = normlab.export("csv", "results")
    assert len(read_csv("runs.csv")) == exported.runs == 4
    assert normlab.export("csv", "results", rows="steps").rows == len(read_csv("steps.csv"))


@pytest.mark.slow
def test_a_sweep_returns_how_each_run_has_ended() -> None:
    outcomes = normlab.sweep(*TINY, "launcher.workers=2", "seed=1,2")
    assert [outcome.status for outcome in outcomes] == ["finished", "finished"]


def test_claims_are_verified_and_remembered() -> None:
    tiny = ", ".join(text for text in TINY if not text.startswith("model.depth"))
    Path("mine.yaml").write_text(OWN_CLAIM.format(tiny=tiny))
    planned = normlab.plan_verification("mine.yaml")
    assert planned.plan is not None
    for config in planned.plan.pending:
        normlab.run_config(config)
    (verdict,) = normlab.verify("mine.yaml")
    assert (verdict.verdict, verdict.n) == ("PASS", 2)
    (kept,) = Path("results/.verdicts").iterdir()
    assert kept.name.endswith("-small.json")
    with pytest.raises(ConfigError, match="C99: no such claim"):
        normlab.verify("C99")


@pytest.mark.slow
def test_every_claim_is_meant_where_none_is_named() -> None:
    assert len(normlab.plan_verification().claims) == 20
    assert 0 < len(normlab.plan_verification(scale="paper").claims) < 20


def test_pictures_and_a_report() -> None:
    write_runs(12, Path("results"), with_tables=True)
    problems: list[str] = []
    Path("results/synthetic/broken").mkdir()
    Path("results/synthetic/broken/summary.json").touch()
    assert len(normlab.read_results(on_problem=problems.append)) == 12
    assert [problem.split(":")[0] for problem in problems] == ["results/synthetic/broken"]
    assert normlab.plot("depth", output="depth.svg") == Path("depth.svg")
    assert Path("depth.svg").read_text().startswith("<svg")
    assert "step" in text_of(normlab.sketch("heatmap"))
    page = normlab.report("results/synthetic")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(ConfigError, match="no such choice; choices: gradients"):
        normlab.plot("depht", output="depth.svg")
    with pytest.raises(RecordError, match="nowhere"):
        normlab.read_results("nowhere")


def test_theory_and_info() -> None:
    facts = normlab.theory("model.activation=tanh", "model.init=lecun_normal", "model.init_gain=2")
    assert facts["phase"] == "chaotic"
    with pytest.raises(ConfigError, match="are of MLPs without norm"):
        normlab.theory("model=cnn")
    known = normlab.info()
    assert known.versions["normlab"] == normlab.__version__
    assert "cpu" in known.devices
    assert known.data["digits"] is not None
    assert (known.configs / "config.yaml").is_file()


def test_a_benchmark_refuses_before_it_measures() -> None:
    heard: list[Case] = []
    with pytest.raises(ConfigError, match="no such net"):
        normlab.benchmark(Case("mlp-30"), Case("nonet"), seconds=0.1, on_case=heard.append)
    assert heard == []


def test_importing_costs_nothing() -> None:
    """Of the modules that take long to load none is there before a function is called."""
    code = (
        "import sys, normlab; normlab.run; normlab.verify; "
        "assert not {'torch', 'pandas', 'numpy', 'hydra', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
