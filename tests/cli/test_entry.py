"""Every error is one line on stderr and an exit code; --debug shows where it came from."""

import signal
from pathlib import Path

import pytest

from normlab.cli import entry
from normlab.errors import ConfigError
from tests.cli.invoking import normlab
from tests.conftest import TINY


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "model.dept=8"], 2, "model.dept=8: no such key; did you mean model.depth?"),
        (["run", "model.depth=21"], 2, "nearest are 20 and 26"),
        (["run", "norm=none,bn"], 2, "one run takes one value"),
        (["run", "--no-such-option"], 2, "No such option"),
        (["run", "--depth", "20"], 2, "settings are written model.depth=20\n"),
        (["run", "norm=bn", "--epochs=3"], 2, "settings are written training.epochs=3\n"),
        (["sweep", "--batch-size"], 2, "settings are written training.batch_size=…\n"),
        (["compare", "--depth", "20"], 2, "No such option: --depth"),
        (["run", "norm=layer_norm"], 2, "ln, ln_channels, none, rms, wn; norm=ln is LayerNorm\n"),
        (["run", "model.activation=ReLU"], 2, "; did you mean relu?\n"),
        (["run", "--format", "xml"], 2, "'xml' is not one of 'rich', 'json'."),
        (["compare", "--format", "xml"], 2, "not one of 'rich', 'csv', 'json', 'md', 'latex'."),
        (["verify", "--format", "latex"], 2, "'latex' is not one of 'rich', 'json', 'md'."),
        (
            ["plot", "depht"],
            2,
            "not one of 'gradients', 'heatmap', 'curves', 'depth', 'phase', 'theory'.",
        ),
        (["run", "--debug"], 2, "--debug: comes before the command, as in normlab --debug run"),
        (["run", "--config-dir", "nowhere"], 2, "--config-dir=nowhere: no such folder"),
        (["run", *TINY, "runtime.device=cuda:77"], 2, "no such device here"),
        (["run", "data=mnist", "data.root=nowhere"], 2, "data.root=nowhere"),
        (["run", *TINY, "output.root=file"], 2, "cannot be written"),
        (["show", "zzz"], 2, "zzz: no such run"),
        (["sweep", "seed=range(10001)"], 2, "has 10,001 runs, above 10,000; add --yes"),
        (["sweep", "model.depth=8,21", "seed=range(3)"], 2, "run 4 of 6 (model.depth=21 seed=0)"),
        (["sweep", "seed=range(0)"], 2, "no value"),
        (["run", "-m", "seed=1,2", "--format", "json"], 2, "--format json: of one run"),
        (["run", "-m", "seed=1,2", "--cfg"], 2, "--cfg: of one run"),
        (["sweep", "modle=cnn,mlp"], 2, "did you mean model?"),
        (["compare", "nowhere"], 2, "nowhere"),
        (["results", "export", "runs.xml"], 2, "results"),
        (["show"], 2, "no run is here yet"),
        (["no-such-command"], 2, "No such command"),
        (["verify", "C99"], 2, "C99: no such claim"),
        (["verify", "--all", "C01"], 2, "--all: takes no claims beside it"),
        (["verify", "C08", "training.epochs=3"], 2, "training.epochs=3: would change"),
        (["verify", "--format", "json"], 2, "name the claims"),
        (["verify", "C01", "--scale", "paper"], 2, "no protocol at --scale paper"),
        (["claims", "C99"], 2, "C99: no such claim"),
        (["theory", "model=cnn"], 2, "are of MLPs without norm"),
        (["plot", "gradients", "nowhere"], 2, "nowhere"),
        (["plot", "heatmap"], 2, "no run is here yet"),
        (["report", "."], 2, "no finished run is there to draw"),
        (["run", *TINY, "data.size=1", "model.width=10000000"], 3, "out of memory"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    (tmp_path / "file").write_text("")
    done = normlab(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert done.stdout == ""
    assert words in done.stderr
    assert "Value error" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    # What failed while running is kept as a run; what cannot begin is none.
    assert bool(list(tmp_path.glob("**/summary.json"))) == (code == 3)
    if code == 2:
        assert [place.name for place in tmp_path.iterdir()] == ["file"]


def test_debug_raises_what_would_be_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nearest are 20 and 26"):
        normlab("--debug", "run", "model.depth=21", cwd=tmp_path)


def test_an_unforeseen_error_is_one_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a\nslip")

    monkeypatch.setattr("normlab.api.info", broken)
    done = normlab("info", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "normlab: ZeroDivisionError: a slip; normlab --debug … shows where\n"
    with pytest.raises(ZeroDivisionError):
        normlab("--debug", "info", cwd=tmp_path)


def test_what_was_typed_does_not_control_the_terminal(tmp_path: Path) -> None:
    done = normlab("run", "model=\x1b[31mred", cwd=tmp_path)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr


def test_requests_to_end_are_as_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for one that is ignored, as under nohup."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        received = entry.signals_as_ctrl_c()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert received == [signal.SIGTERM]
        monkeypatch.setattr(entry, "run_command_line", lambda: 130)
        monkeypatch.setattr(entry, "signals_as_ctrl_c", lambda: received)
        with pytest.raises(SystemExit) as ended:
            entry.main()
        assert ended.value.code == 143
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("command", [[], ["--help"], ["run", "-h"], ["show", "--help"]])
def test_help(tmp_path: Path, command: list[str]) -> None:
    done = normlab(*command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: " in done.stdout
    if command[:1] in (["run"], ["show"]):
        assert f"normlab {command[0]} " in done.stdout.split("Examples")[1]


def test_a_long_error_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    done = normlab("run", f"model.{'x' * 9000}=3", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("normlab: model.xxx")
    assert "no such key; model has model.name" in done.stderr
    assert len(done.stderr) < 2100


def test_a_home_that_the_shell_has_left_is_found(tmp_path: Path) -> None:
    own = tmp_path / "own" / "model"
    own.mkdir(parents=True)
    (own / "wide.yaml").write_text("defaults: [mlp, _self_]\nwidth: 512\n")
    home = {"HOME": str(tmp_path), "cwd": tmp_path}
    done = normlab("run", "model=wide", "--cfg", "--config-dir=~/own", **home)
    assert "width: 512" in done.stdout
    assert f"in {tmp_path / 'runs'}\n" in normlab("show", "a", "--root=~/runs", **home).stderr
    refused = normlab("show", "a", "--root=~no-one/runs", **home)
    assert f"in {tmp_path / '~no-one/runs'}\n" in refused.stderr
