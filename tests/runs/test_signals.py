import contextlib
import os
import signal

import pytest

from normlab.runs import CHECKPOINT_FILE, LOCK_FILE, execute, read_run, run_folder, signals
from normlab.runs.recorder import Recorder
from normlab.training import Checkpoint, Started
from tests.runs.support import assert_same, config_in, make


def interrupted(config, place, *numbers):
    """The events of a run that gets signals at the event of that place."""
    seen = []
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt),
        signals.stop_on_signals() as stop,
        contextlib.closing(execute(config, stop=stop)) as events,
    ):
        for event in events:
            seen.append(event)
            if len(seen) == place:
                for number in numbers:
                    os.kill(os.getpid(), number)
    return seen


# The events of a run that tells of every step: Started, Evaluation, Measurement, two a step …
IN_TRAINING = 6


@pytest.mark.usefixtures("at_every_step", "interrupting")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_waits_for_the_end_of_a_step(tmp_path, number, times):
    """One that comes twice, as from a terminal and a cluster, is one."""
    whole, config = config_in(tmp_path / "whole"), config_in(tmp_path / "cut")
    make(whole)
    seen = interrupted(config, IN_TRAINING, *[number] * times)
    kept = [event.state["step"] for event in seen if isinstance(event, Checkpoint)]
    assert len(kept) == 1
    assert (run_folder(config) / CHECKPOINT_FILE).exists()
    resumed = [e.resumed for e in make(config) if isinstance(e, Started)]
    assert resumed == kept
    assert_same(run_folder(whole), run_folder(config))


@pytest.mark.usefixtures("at_every_step", "interrupting")
def test_a_signal_before_training_strikes_at_once(tmp_path):
    config = config_in(tmp_path)
    assert len(interrupted(config, 1, signal.SIGINT)) == 1
    assert read_run(run_folder(config)).summary.reason == "Stopped at step 0."


@pytest.mark.usefixtures("at_every_step", "interrupting")
def test_a_second_signal_does_not_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "PATIENCE_SECONDS", -1)
    config = config_in(tmp_path)
    seen = interrupted(config, IN_TRAINING, signal.SIGINT, signal.SIGINT)
    assert len(seen) == IN_TRAINING
    assert not (run_folder(config) / CHECKPOINT_FILE).exists()


@pytest.mark.usefixtures("interrupting")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_summary_is_written_waits_and_is_not_lost(tmp_path, monkeypatch, number):
    config, finish = config_in(tmp_path), Recorder.finish

    def interrupted_within(self, summary, **options):
        os.kill(os.getpid(), number)
        finish(self, summary, **options)

    monkeypatch.setattr(Recorder, "finish", interrupted_within)
    with pytest.raises(KeyboardInterrupt):
        make(config)
    assert read_run(run_folder(config)).summary.status == "finished"
    assert not (run_folder(config) / LOCK_FILE).exists()
