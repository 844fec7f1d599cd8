"""Claims, theory, pictures and reports as a person meets them on the command line."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.test_cli import normlab
from tests.conftest import TINY

OWN = """
statement: Two layers are as good as three.
experiment: [{tiny}, "model.depth=3,4", "seed=range(2)"]
metric: train_acc("model.depth=3") - train_acc("model.depth=4")
gate: {gate}
"""


def own_claim(folder: Path, gate: str) -> Path:
    file = folder / "mine.yaml"
    tiny = ", ".join(t for t in TINY if not t.startswith("model.depth"))
    file.write_text(OWN.format(tiny=tiny, gate=gate))
    return file


def test_verify_runs_judges_remembers_and_goes_on(tmp_path: Path) -> None:
    own_claim(tmp_path, "[-1, 1]")
    first = normlab("verify", "mine.yaml", "C05", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "4 runs: 4 to make" in first.stdout
    assert "2 claims: 2 PASS" in first.stdout
    again = normlab("verify", "mine.yaml", "--format", "json", cwd=tmp_path)
    (row,) = json.loads(again.stdout)
    assert (row["verdict"], row["n"], row["gate"]) == ("PASS", 2, {"metric": [-1, 1]})
    assert "4 finished" in again.stderr
    own_claim(tmp_path, "[2, 3]")
    failed = normlab("verify", "mine.yaml", "--format", "md", cwd=tmp_path)
    assert failed.returncode == 1
    assert "**FAIL**" in failed.stdout
    listed = normlab("verify", cwd=tmp_path)
    assert re.search(r"C05.*PASS", listed.stdout)
    assert len(re.findall(r"^C\d\d ", listed.stdout, re.MULTILINE)) == 20


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", "C99"], "C99: no such claim"),
        (["verify", "--all", "C01"], "--all: takes no claims beside it"),
        (["verify", "C08", "training.epochs=3"], "training.epochs=3: would change"),
        (["verify", "--format", "json"], "name the claims"),
        (["verify", "C01", "--scale", "paper"], "no protocol at --scale paper"),
        (["claims", "C99"], "C99: no such claim"),
        (["theory", "model=cnn"], "are of MLPs without norm"),
        (["plot", "gradients", "nowhere"], "nowhere"),
        (["plot", "heatmap"], "no run is here yet"),
        (["report", "."], "no finished run is there to draw"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    result = normlab(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_claims_explain(tmp_path: Path) -> None:
    page = normlab("claims", "C14", cwd=tmp_path, COLUMNS="100").stdout
    for part in ("He et al. 2015", "trap", "gate", "pilot", "normlab run experiment=C14"):
        assert part in page


def test_theory_prints_the_phase(tmp_path: Path) -> None:
    arguments = ("theory", "model.activation=tanh", "model.init=lecun_normal")
    page = normlab(*arguments, "model.init_gain=2", cwd=tmp_path).stdout
    assert "chaotic phase" in page
    facts = json.loads(normlab(*arguments, "--format", "json", cwd=tmp_path).stdout)
    assert {"q", "chi_1", "gradient_depth", "critical_weight_variance"} <= set(facts)


def test_pictures_and_a_report_of_a_sweep(tmp_path: Path) -> None:
    sweep = ("sweep", *TINY, "model.depth=4,6", "norm=none,bn", "output.experiment=tiny")
    made = normlab(*sweep, "--report", "page.html", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "written to page.html" in made.stdout
    for name in ("gradients", "curves", "depth", "theory"):
        drawn = normlab("plot", name, "results/tiny", cwd=tmp_path)
        assert drawn.returncode == 0, drawn.stderr
        assert max(map(len, drawn.stdout.splitlines())) <= 120
        file = normlab("plot", name, "results/tiny", "-o", f"{name}.svg", cwd=tmp_path)
        assert file.returncode == 0, file.stderr
        assert (tmp_path / f"{name}.svg").read_text().startswith("<svg")
    assert "step" in normlab("plot", "heatmap", cwd=tmp_path).stdout
    refused = normlab("plot", "depth", "-o", "depth.gif", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert ".png, .svg, .pdf, .html" in refused.stderr
    several = normlab("plot", "heatmap", "results/tiny", cwd=tmp_path)
    assert "a heatmap is of one run, and these are 4" in several.stderr


def test_run_prints_theory_beside_the_measurement(tmp_path: Path) -> None:
    page = normlab("run", *TINY, "norm=none", "model.depth=8", cwd=tmp_path, COLUMNS="120").stdout
    assert re.search(
        r"theory\s+δ ×1 per layer towards the input predicted at init, ×[\d.]+ meas", page
    )
