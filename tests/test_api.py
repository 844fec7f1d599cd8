"""The functions of the door: what a script calls does what a command does, and prints nothing."""

import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pandas import read_csv
from pandas.testing import assert_frame_equal

import normlab
from normlab import api
from normlab.bench import Case
from normlab.errors import BusyError, ConfigError
from normlab.runs import Finished, read_weights
from normlab.runs.recorder import record_failure
from tests.conftest import TINY

TYPES = {
    *("Comparison", "Config", "Diagnosis", "NormlabError", "Results", "Run", "Summary", "Theory"),
    "Verdicts",
    "Watch",
}
FUNCTIONS = """
compose(*overrides, config_dir=None)
extend(run, *overrides, root='results', stretch=False, progress=None)
load_plugin(plugin)
model(*overrides, config_dir=None)
read_run(name=None, root='results')
results(*folders, where=())
run(*overrides, config_dir=None, force=False, progress=None)
sweep(*overrides, config_dir=None, force=False, retry_failed=False, fail_fast=False, progress=None)
theory(*overrides, config_dir=None)
verify(*words, scale='small', config_dir=None, retry_failed=False, progress=None)
watch(model, probe=None, measure=(), every=1, select=None, out=None, settings=None, overwrite=False)
"""
METHODS = """
Comparison.to(self, form, caption=None)
Results.compare(self, rows=None, cols=None, metric=None, best=(), by=None, sort=None, \
spread='interval')
Results.export(self, kind='csv', output=None, rows='runs', on_problem=ignore)
Results.findings(self)
Results.layers(self)
Results.metrics(self)
Results.paired(self, baseline, rows=None, cols=None, metric=None, sort=None)
Results.plot(self, picture='gradients', *keys, probe=None, metric=None, x=None, title=None, \
size=None)
Results.report(self, output='report.html', on_progress=None)
Results.where(self, *expressions)
Run.plot(self, picture='gradients', probe=None, metric=None, title=None, size=None)
Watch.as_run(self)
Watch.close(self)
Watch.diagnosis(self)
Watch.frame(self)
Watch.log(self, figures)
Watch.metrics(self)
Watch.pause(self)
Watch.plot(self, picture='gradients', probe=None, metric=None, title=None, size=None)
Watch.record_unclipped(self)
Watch.resume(self)
Watch.table(self)
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


def lines_of(functions: Mapping[str, Any]) -> list[str]:
    """Each function as it is called."""
    return [
        f"{name}({', '.join(map(written, inspect.signature(function).parameters.values()))})"
        for name, function in sorted(functions.items())
    ]


def test_names_and_signatures_stay() -> None:
    named = {name: getattr(normlab, name) for name in normlab.__all__}
    functions = {name: value for name, value in named.items() if inspect.isfunction(value)}
    assert named.keys() - functions.keys() == TYPES
    assert lines_of(functions) == FUNCTIONS.strip().splitlines()
    methods = {
        f"{owner.__name__}.{name}": method
        for owner in (normlab.Comparison, normlab.Results, normlab.Run, normlab.Watch)
        for name, method in inspect.getmembers(owner, inspect.isfunction)
        if not name.startswith("_")
    }
    assert lines_of(methods) == METHODS.strip().splitlines()
    for name, value in (named | methods).items():
        assert value.__doc__, name


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
    assert api.finished_run(config) is None
    kinds = []

    def follow(events: Iterator[Any]) -> Finished:
        for event in events:
            kinds.append(type(event).__name__)
        return event

    made = api.run_config(config, follow=follow)
    assert kinds[0] == "Started"
    assert kinds[-1] == "Finished"
    found = api.finished_run(config)
    assert found is not None
    assert found.summary == made.summary
    with pytest.raises(BusyError, match="finished already"):
        api.run_config(config)


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
        api.run_config(config, follow=strike)
    assert normlab.read_run().summary.status == "interrupted"
    assert api.finished_run(config) is None


def test_a_model_has_the_weights_that_its_run_begins_with() -> None:
    """Without a step the weights that are kept are the first ones."""
    settings = (*TINY, "norm=bn", "optimizer.lr=0", "output.weights=true", "seed=3")
    network = normlab.model(*settings)
    kept = read_weights(normlab.run(*settings).folder)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, kept[name]), name


def test_a_grid_is_planned_swept_compared_and_exported() -> None:
    grid = (*TINY, "launcher.workers=1", "norm=none,bn", "seed=1,2")
    planned = api.plan(*grid)
    assert len(planned.pending) == len(planned.configs) == 4
    assert not Path("results").exists()
    with pytest.raises(ConfigError, match="has 4 runs, above 3"):
        api.plan(*grid, most_runs=3)
    for config in planned.configs:
        api.run_config(config)
    assert api.plan(*grid).finished == 4
    runs = normlab.sweep(*grid)
    assert [run.config.seed for run in runs] == [1, 2, 1, 2]
    assert [run.config.norm.name for run in runs] == ["none", "none", "bn", "bn"]
    assert len(runs.failed) == 0
    table = runs.compare(metric="train_loss").frame
    assert list(table["n"]) == [2, 2]
    assert runs.paired("norm=none").frame["n"].tolist() == [2]
    assert runs.export().runs == len(read_csv("runs.csv")) == 4
    assert runs.export("csv", "mine.csv", "steps").rows == len(read_csv("mine.csv"))


def test_runs_that_failed_are_seen() -> None:
    """Of a sweep whose second run cannot be made."""
    planned = api.plan(*TINY, "seed=1,2")
    api.run_config(planned.configs[0])
    record_failure(planned.configs[1], "out of memory", 1.0)
    runs = normlab.sweep(*TINY, "seed=1,2")
    assert repr(runs) == "<Results: 2 runs: 1 finished, 1 failed (not in the means)>"
    assert list(runs.failed.frame["reason"]) == ["out of memory"]
    assert "1 failed" in str(runs)


@pytest.mark.slow
def test_a_sweep_is_made_by_workers_and_returned() -> None:
    runs = normlab.sweep(*TINY, "launcher.workers=2", "seed=1,2")
    assert [run.summary.status for run in runs] == ["finished", "finished"]


def test_claims_are_verified_and_remembered() -> None:
    tiny = ", ".join(text for text in TINY if not text.startswith("model.depth"))
    Path("mine.yaml").write_text(OWN_CLAIM.format(tiny=tiny))
    planned = api.plan_verification("mine.yaml")
    assert planned.plan is not None
    for config in planned.plan.pending:
        api.run_config(config)
    verdicts = normlab.verify("mine.yaml")
    (verdict,) = verdicts
    assert (verdict.verdict, verdict.n) == ("PASS", 2)
    assert verdicts[verdict.claim.id] is verdicts[0] is verdict
    assert repr(verdicts) == "<Verdicts: 1 claim: 1 PASS>"
    assert list(verdicts.frame["verdict"]) == ["PASS"]
    assert "Two layers are as good as three." in verdicts._repr_html_()
    (kept,) = Path("results/.verdicts").iterdir()
    assert kept.name.endswith("-small.json")
    with pytest.raises(ConfigError, match="C99: no such claim"):
        normlab.verify("C99")


@pytest.mark.slow
def test_every_claim_is_meant_where_none_is_named() -> None:
    assert len(api.plan_verification().claims) == 32
    assert 0 < len(api.plan_verification(scale="paper").claims) < 32


def test_theory_and_info() -> None:
    facts = normlab.theory("model.activation=tanh", "model.init=lecun_normal", "model.init_gain=2")
    assert facts.phase == "chaotic"
    assert repr(facts).startswith("<Theory: tanh, chaotic, χ₁ = ")
    assert "chaotic phase: the gradient explodes" in facts._repr_html_()
    with pytest.raises(ConfigError, match="are of MLPs without norm"):
        normlab.theory("model=cnn")
    known = api.info()
    assert known.versions["normlab"] == normlab.__version__
    assert "cpu" in known.devices
    assert known.data["digits"] is not None
    assert (known.configs / "config.yaml").is_file()


def test_a_benchmark_refuses_before_it_measures() -> None:
    heard: list[Case] = []
    with pytest.raises(ConfigError, match="no such net"):
        api.benchmark(Case("mlp-30"), Case("nonet"), seconds=0.1, on_case=heard.append)
    assert heard == []


def test_importing_costs_nothing() -> None:
    """Of the modules that take long to load none is there before a function is called."""
    code = (
        "import sys, normlab; normlab.run; normlab.verify; "
        "assert not {'torch', 'pandas', 'numpy', 'hydra', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_run_is_made_longer() -> None:
    short = normlab.run(*TINY, "schedule=constant", "output.keep=true")
    longer = normlab.extend(short, "training.epochs=4")
    assert (longer.summary.steps, longer.summary.extended_from) == (16, short.id)
    assert normlab.extend(short.id[:6], "training.epochs=4").folder == longer.folder
    with pytest.raises(ConfigError, match="keeps all but"):
        normlab.extend(short, "seed=1")
