"""What the shell is told of options and arguments that are being typed, through Typer itself."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from normlab.cli.application import app
from normlab.config import PROBES
from normlab.vocabulary import METRICS
from tests.cli.invoking import as_typed, normlab
from tests.conftest import TINY


def completions(line: str, cwd: Path) -> list[str]:
    """What bash is told for a line as it splits it; its last word is the unfinished one."""
    words, out = line.split(" "), io.StringIO()
    asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    with (
        as_typed(cwd=cwd, _NORMLAB_COMPLETE="complete_bash", **asked),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        app(prog_name="normlab")
    return out.getvalue().split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("normlab sweep norm = bn,l", ["bn,ln", "bn,ln_channels"]),
        ("normlab compare --metric train_acc,test_a", ["train_acc,test_acc"]),
        ("normlab compare --metric ", list(METRICS)),
        ("normlab compare --rows norm,model.de", ["norm,model.depth"]),
        ("normlab compare --cols model.dep", ["model.depth"]),
        ("normlab compare --best optimizer.l", ["optimizer.lr"]),
        ("normlab compare --where verdict = va", ["vanishing"]),
        ("normlab compare --where verd", ["verdict="]),
        ("normlab ls --where cau", ["cause="]),
        ("normlab ls --where cause = rate", ["rate_too_small", "rate_too_large"]),
        ("normlab ls --where norm = b", ["bn"]),
        ("normlab plot gradients --probe ", list(PROBES)),
        ("normlab plot curves --metric test_", ["test_acc", "test_loss"]),
        ("normlab compare resul", []),  # folders, which the shell completes itself
        ("normlab show zzz", []),
        ("normlab verify C0", [f"C0{number}" for number in range(1, 10)]),
    ],
)
def test_completes(tmp_path: Path, line: str, expected: list[str]) -> None:
    assert completions(line, tmp_path) == expected


def test_help_lists_the_metrics(tmp_path: Path) -> None:
    page = normlab("compare", "--help", cwd=tmp_path, COLUMNS="200").stdout
    assert set(METRICS) <= set(re.findall(r"\w+", page))


def test_ids_of_runs_are_completed(tmp_path: Path) -> None:
    for seed in (1, 2):
        assert normlab("run", *TINY, f"seed={seed}", cwd=tmp_path).returncode == 0
    names = sorted(folder.name for folder in tmp_path.glob("results/runs/*"))
    assert len(names) == 2
    for line in ("normlab show ", "normlab doctor ", "normlab plot heatmap "):
        assert completions(line, tmp_path) == names
        assert completions(f"{line}{names[1][:6]}", tmp_path) == names[1:]
    assert completions("normlab show --root elsewhere ", tmp_path) == []
