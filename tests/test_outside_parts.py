"""A part of each kind from a file outside the package is used end to end: run, compare, plot."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from normlab.analysis import read_results
from normlab.config import compose
from normlab.measurement import predict
from normlab.runs import read_run, run_folder
from normlab.show import ComparisonOptions, PictureOptions, Screen, comparison, draw, sketch
from tests import outside_parts
from tests.show.terminal.printing import text_of
from tests.tools.golden import answer, in_folder

SETTINGS = (
    *("norm=centred", "data=stripes", "model=shallow", "optimizer=sign", "schedule=halving"),
    *("launcher=here", "training.batch_size=8", "training.epochs=3", "runtime.device=cpu"),
    *("probes.batch_size=8", "probes.measure=[delta_rms,largest,sample_cosine]"),
    "output.experiment=outside",
)


@pytest.fixture(autouse=True)
def parts(tmp_path: Path) -> Iterator[Path]:
    for registry, name, part in outside_parts.PARTS:
        registry.add(name, part)
    outside_parts.write_configs(tmp_path / "mine")
    with in_folder(tmp_path):
        yield tmp_path
    for registry, name, _ in outside_parts.PARTS:
        registry.remove(name)


def test_run_compare_and_plot() -> None:
    mine = ("--config-dir", "mine")
    table = answer(["sweep", *SETTINGS, "seed=0,1", *mine])
    assert "2 runs: 2 finished" in table
    report = answer(["run", *SETTINGS, "seed=0", *mine])
    assert "shallow-2 square centred on stripes" in report
    assert "theory" not in report  # of these parts it is not known
    found = answer(
        ["compare", "--where", "norm=centred", "--metric", "train_acc,gradient_ratio_end"]
    )
    assert "seed" not in found
    assert "2 runs: 2 finished" in found
    sketch = answer(["plot", "gradients", "--probe", "largest"])
    assert "Largest activation by layer" in sketch
    answer(["plot", "gradients", "--probe", "largest", "-o", "largest.svg"])
    picture = Path("largest.svg").read_text(encoding="utf-8")
    assert "largest activation" in picture
    assert outside_parts.Centred.colour in picture


def test_a_claim_about_them_is_verified() -> None:
    Path("mine.yaml").write_text(outside_parts.CLAIM, encoding="utf-8")
    verdict = answer(["verify", "mine.yaml", "--config-dir", "mine", "launcher=here"])
    assert "PASS  Centring learns stripes." in verdict
    assert "1 claim: 1 PASS" in verdict


def test_a_picture_and_a_format_are_used_as_normlabs_own(parts: Path) -> None:
    answer(["run", *SETTINGS, "seed=0", "--config-dir", "mine"])
    frame, _ = read_results([Path("results")])
    draw("bars", frame, PictureOptions(), parts / "bars.svg")
    assert "#654321" in (parts / "bars.svg").read_text(encoding="utf-8")
    assert "1 bars, 60 wide" in text_of(sketch("bars", frame, PictureOptions(), Screen(60, 24)), 60)
    written = comparison(frame, ComparisonOptions(), "lines")
    assert isinstance(written, str)
    assert written.startswith(f"{frame['train_acc'].iloc[0]:.3f}*")


def test_what_was_measured_is_recorded(parts: Path) -> None:
    config = compose([*SETTINGS, "seed=0"], parts / "mine")
    answer(["run", *SETTINGS, "seed=0", "--config-dir", "mine"])
    run = read_run(run_folder(config))
    assert (run.layers["largest"] > 0).all()
    assert run.metrics["lr"].iloc[1] == pytest.approx(0.01 * 0.5**4)
    assert predict(config) is None


SCRIPT = """
import sys
from pathlib import Path
import normlab
from tests import outside_parts

for registry, name, part in outside_parts.PARTS:
    registry.add(name, part)

if __name__ == "__main__":
    for run in normlab.sweep(*sys.argv[1:], config_dir=Path("mine")):
        print(run.summary.status, run.diagnosis.reason)
"""


@pytest.mark.slow
def test_worker_processes_know_the_parts_that_a_script_brings(parts: Path) -> None:
    (parts / "script.py").write_text(SCRIPT, encoding="utf-8")
    words = [*SETTINGS, "launcher.workers=2", "seed=0,1"]
    words[words.index("launcher=here")] = "launcher=local"
    done = subprocess.run(
        [sys.executable, "script.py", *words],
        cwd=parts,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = [line.partition(" ") for line in done.stdout.splitlines()]
    assert [status for status, _, _ in told] == ["finished"] * 2
    assert all(reason for _, _, reason in told)


def test_choices_are_told_with_those_from_outside() -> None:
    error = answer_error(["run", "model=shallow", "model.activation=sqare", "--config-dir", "mine"])
    assert "choices: relu, " in error
    assert "did you mean square?" in error


def answer_error(words: list[str]) -> str:
    import contextlib
    import io

    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        answer(words)
    return errors.getvalue()
