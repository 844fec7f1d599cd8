import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pandas import DataFrame
from rich.console import Console

from normlab.config import compose
from normlab.runs import Finished, Run, Summary
from normlab.show import watch
from normlab.show.terminal.run_views import RunView, deltas_of
from normlab.training import Evaluation, Event, LayerName, Measurement, Progress, Started
from tests.show.terminal.printing import printed

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
FINISHED = Finished(
    Run(
        *(Path("folder"), compose([]), {}, DataFrame(), DataFrame()),
        Summary(run_id="0123456789", status="finished"),
    )
)


def events() -> Iterator[Event | Finished]:
    layers = [LayerName(i, f"layer{i}", "linear") for i in (1, 2, 3)]
    yield Started("cpu", 1234, 3, 10, 20, 10)
    for step in (0, 10, 20):
        yield Evaluation(
            step=step,
            epoch=step / 10,
            train_loss=2.0 - step / 20,
            train_acc=step / 20,
            test_loss=2.5,
            test_acc=0.25,
            batch_loss=1.5,
            lr=0.1,
            seconds=1.0,
        )
        deltas = [10.0**-i * (step + 1) for i in (1, 2, 3)]
        yield Measurement(step, layers, {"delta_rms": deltas})
        yield Measurement(step, layers, {"grad_norm": [1.0, 1.0, 1.0]})
        if step < 20:
            yield Progress(step + 5, 1.25)
    yield FINISHED


def shown(width: int, terminal: bool) -> tuple[Finished, str]:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=terminal, _environ={"TERM": "xterm-256color"}
    )
    return watch(events(), console, "MLP-3 bn on digits"), stream.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_elsewhere_plain_lines(width: int) -> None:
    finished, text = shown(width, terminal=False)
    assert finished.summary.status == "finished"
    assert not CONTROL.search(text)
    lines = text.splitlines()
    assert lines[0] == "MLP-3 bn on digits: 3 layers, 1,234 parameters, 20 steps on cpu"
    assert len(lines) == 4
    assert "step     10" in lines[2]
    assert "train loss 1.5000 acc 0.5000  test loss 2.5000 acc 0.2500" in lines[2]


@pytest.mark.parametrize("width", [80, 120])
def test_in_a_terminal_a_bar_and_the_gradients(width: int) -> None:
    finished, text = shown(width, terminal=True)
    assert finished is FINISHED
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    for piece in (
        "20/20",
        "train loss 1.00 acc 1.000",
        "δ at step 0",
        "δ at step 20",
        "input",
        "output",
    ):
        assert piece in last
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is given back
    assert max(len(line) for line in re.split(r"[\r\n]+", last)) <= width


def test_one_loss_is_that_of_the_batch_and_the_other_that_of_the_evaluation() -> None:
    """The events' batch loss is 1.5 or 1.25, the evaluated train losses 2, 1.5 and 1."""
    view = RunView(Console(width=80), "net")
    seen: list[str] = []
    for event in events():
        if not isinstance(event, Finished):
            view.update(event)
            seen += printed(view.drawn(), 80)
    batch = [found[1] for line in seen if (found := re.search(r"batch loss (\S+)", line))]
    assert list(dict.fromkeys(batch)) == ["–", "1.25"]
    pattern = r"epoch .*: train loss (\S+) acc (\S+), test loss 2.50 acc 0.250$"
    scores = [found.groups() for line in seen if (found := re.search(pattern, line))]
    expected = [("2.00", "0.000"), ("1.50", "0.500"), ("1.00", "1.000")]
    assert list(dict.fromkeys(scores)) == expected
    losses = {kind for line in seen for kind in re.findall(r"(\w+) loss", line)}
    assert losses == {"batch", "train", "test"}  # each of them says which it is


def test_a_dumb_terminal_gets_plain_lines() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, _environ={"TERM": "dumb"})
    watch(events(), console, "MLP-3")
    assert "\x1b" not in stream.getvalue()


def test_an_interrupted_display_gives_the_cursor_back() -> None:
    def interrupted() -> Iterator[Event | Finished]:
        yield from (event for event, _ in zip(events(), range(3), strict=False))
        raise KeyboardInterrupt

    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, _environ={"TERM": "xterm"})
    with pytest.raises(KeyboardInterrupt):
        watch(interrupted(), console, "MLP-3")
    assert stream.getvalue().rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in stream.getvalue()


def test_the_strip_of_an_encoder_has_a_bar_a_block() -> None:
    """Without the embedding, and without queries, whose gradient may have gone."""
    places = [(None, "")]
    places += [(n, role) for n in (1, 2, 3) for role in ("query", "value", "feed-forward 2")]
    places += [(None, "")]
    layers = [LayerName(i, f"l{i}", "linear", *place) for i, place in enumerate(places, start=1)]
    deltas = [0.0 if role == "query" else float(block or 9) for block, role in places]
    assert deltas_of(Measurement(0, layers, {"delta_rms": deltas})) == pytest.approx([1, 2, 3, 9])
    plain = [LayerName(i, f"l{i}", "linear") for i in (1, 2)]
    assert deltas_of(Measurement(0, plain, {"delta_rms": [0.5, 1.0]})) == [0.5, 1.0]
