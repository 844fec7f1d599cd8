"""A watch on a network: what it hears of every optimizer step, and when it looks."""

import atexit
import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from normlab.config import PROBES, config_folder, read_yaml
from normlab.errors import ConfigError
from normlab.measurement import update_ratios
from normlab.runs import WatchedRun
from normlab.text import did_you_mean, error_line
from normlab.training import METRIC_COLUMNS
from normlab.watching.following import Followed, is_sampled, refuse, refuse_closure, size_of
from normlab.watching.gradients import NormRing, whole
from normlab.watching.judging import Seen
from normlab.watching.probe_batch import Probe, checked_probe, try_out
from normlab.watching.record import Record
from normlab.watching.settings import known_settings
from normlab.watching.snapshots import snapshot
from normlab.watching.untouched import modes_of
from normlab.watching.weights import bare, watched_weights

if TYPE_CHECKING:
    from pandas import DataFrame

UNCLIPPED = "grad_norm_unclipped"

_watched: set[int] = set()  # ids of parameters that a watch is on


class WatchWarning(UserWarning):
    """A watch has stopped, or saw nothing; the training goes on without it."""


class Watch:
    """Follows a network's training in whatever loop makes it, from its making to `close`.

    A failure within it is a `WatchWarning` and ends the watch, not the training.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        probe: Any = None,
        measure: Sequence[str] = (),
        every: int = 1,
        select: str | Sequence[str] | None = None,
        out: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ):
        if type(every) is not int or every < 1:
            raise ConfigError(f"every={every}: must be a whole number of steps, at least 1")
        self.model = bare(model)
        self.weights = watched_weights(self.model, select)
        if any(id(weight.parameter) in _watched for weight in self.weights):
            raise ConfigError("model: is watched already; close that watch before another begins")
        device = self.weights[0].parameter.device
        self._probe: Probe | None = None if probe is None else checked_probe(probe, device)
        if self._probe:
            try_out(self.model, self._probe)
        self._every = every
        self._given = settings or {}
        self._settings = known_settings(self.model, self.weights, None, self._given)
        self._modes = modes_of(self.model)
        self._looked: set[int] = set()  # the steps at which it looked at the probe batch
        self._followed: dict[Optimizer, Followed] = {}
        # Those that step no watched weight, and how many parameters they had when they did not.
        self._others: WeakKeyDictionary[Optimizer, int] = WeakKeyDictionary()
        self._main: Followed | None = None  # the first one, whose steps are counted
        self._status, self._reason = "running", ""
        folder = Path(out) if out is not None and _writes() else None
        measured = _measured(measure, self._probe)
        self._of_snapshots = [name for name in measured if PROBES[name].measure]
        self._record = Record(
            self.weights, (*measured, UNCLIPPED), folder, self._settings, overwrite=overwrite
        )
        _watched.update(id(weight.parameter) for weight in self.weights)
        self._hooks: list[Any] = []
        self.resume()
        atexit.register(self._close_at_exit)

    def __enter__(self) -> Self:
        if self._status != "running":
            raise ConfigError("with: the watch is closed; begin another")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            stopped = isinstance(error, KeyboardInterrupt)
            self._end("interrupted" if stopped else "failed", "" if stopped else error_line(error))

    # ---------------------------------------------------------------------- what it knows

    @property
    def step(self) -> int:
        """How many optimizer steps it has seen."""
        if self._main is None:
            return 0
        if self._main.ring.uncertain:
            self._read(self._main)
        return self._main.step

    @property
    def probed(self) -> bool:
        """Whether there is a probe batch."""
        return self._probe is not None

    @property
    def folder(self) -> Path | None:
        """Where its files lie; None without `out`."""
        return self._record.folder.folder

    def frame(self) -> "DataFrame":
        """layers.parquet as far as it is: a row for each step and watched weight."""
        if self._status == "running":
            self._read_all()
        return self._record.frame()

    def metrics(self) -> "DataFrame":
        """metrics.parquet as far as it is: a row for each step of a snapshot or a `log`."""
        return self._record.metrics()

    def as_run(self) -> WatchedRun:
        """What its folder holds, or would hold were this the end."""
        layers, metrics, record = self.frame(), self.metrics(), self._record
        summary = record.summary(layers, self._seen())
        if self._status == "running":
            record.folder.flush()
        return WatchedRun(record.folder.place, record.folder.environment, metrics, layers, summary)

    def log(self, **figures: float) -> None:
        """Keep figures of one's own, such as train_acc, as a row of metrics.parquet at this step.

        Raises ConfigError for a name that metrics.parquet does not have, an accuracy outside of
        [0, 1], and once the watch is closed.
        """
        if self._status != "running":
            raise ConfigError("log: the watch is closed; log before it is, within the with block")
        for name, value in figures.items():
            if name not in METRIC_COLUMNS or name == "step":
                choices = ", ".join(column for column in METRIC_COLUMNS if column != "step")
                raise ConfigError(f"log({name}=…): no such figure; choices: {choices}")
            figure = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
            if not isinstance(figure, int | float):
                raise ConfigError(f"log({name}={value!r:.40}): must be a number")
            if name.endswith("_acc") and not 0 <= figure <= 1:
                raise ConfigError(f"log({name}={figure}): an accuracy is a fraction in [0, 1]")
        values = {name: float(value) for name, value in figures.items()}
        self._record.logged |= values
        self._record.add_metrics(self.step, self._rate(), values)

    def record_unclipped(self) -> None:
        """Keep the norms of the gradients as they are now, before they are clipped, as
        `grad_norm_unclipped` of the step to come. The CPU waits for a GPU each time."""
        if self._status != "running":
            return
        ring = NormRing([weight.parameter for weight in self.weights])
        ring.record(self.step)
        self._record.keep(self.step, UNCLIPPED, range(len(self.weights)), ring.read().norms[0])

    def pause(self) -> None:
        """Hear of no step, and take no time, until `resume`."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def resume(self) -> None:
        """Hear of every step again; those in between are not counted."""
        if self._status == "running" and not self._hooks:
            self._hooks += [
                register_optimizer_step_pre_hook(self._before_step),
                register_optimizer_step_post_hook(self._after_step),
            ]

    def close(self) -> None:
        """Look for the last time, write the folder whole, and let the network go."""
        self._end("finished", "")

    # ----------------------------------------------------------------------- what it hears

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        try:
            followed = self._follow(optimizer)
            if followed is None or not followed.begins(_caller(), self._followed.values()):
                return
            if is_sampled(followed.step) and followed.ring.uncertain:
                self._read(followed)
            if followed.changes_gradients:
                refuse_closure(optimizer, args, kwargs)
                self._keep_norms(followed, None)
            if not is_sampled(followed.step):
                return
            main = self._main
            if main and followed.count is main.count and followed.step not in self._looked:
                # In the modes of training, which a person's own evaluation changes at other times.
                self._modes = modes_of(self.model)
                self._look()
            followed.before = [p.detach().clone() for p in followed.parameters]
        except Exception as error:
            self._fail(error)

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        try:
            followed = self._followed.get(optimizer)
            if followed is None or not followed.ends(_caller()):
                return
            self._take(followed, getattr(optimizer, "found_inf", None))
        except Exception as error:
            self._fail(error)

    def _follow(self, optimizer: Optimizer) -> Followed | None:
        """What is known of an optimizer; None of one that steps no watched weight."""
        size, known = size_of(optimizer), self._followed.get(optimizer)
        if known is not None and known.size == size:
            return known
        if self._others.get(optimizer) == size:
            return None
        found = Followed(optimizer, self.weights)
        if not found.places:
            self._others[optimizer] = size
            return None
        refuse(optimizer)
        self._succeed(found)
        self._followed[optimizer] = found
        if self._main is None:
            self._main = found
            self._settings = known_settings(self.model, self.weights, optimizer, self._given)
        return found

    def _succeed(self, found: Followed) -> None:
        """Count on where other optimizers of the same weights are, such as that of the last phase
        of a training; those with no other weights are let go, and are heard of again if they step.
        """
        for optimizer, other in list(self._followed.items()):
            if set(other.places).isdisjoint(found.places):
                continue
            self._read(other)
            found.count = other.count
            if set(other.places) <= set(found.places) and not other.is_stepping:
                del self._followed[optimizer]
                self._main = found if other is self._main else self._main

    def _take(self, followed: Followed, skipped: Tensor | None) -> None:
        """Keep what a step that was just taken has used."""
        step, before = followed.step, followed.before
        followed.before = None
        if before is not None and skipped is not None and skipped.any():
            return  # a gradient scaler had the optimizer change nothing
        if not followed.changes_gradients:
            self._keep_norms(followed, skipped)
        followed.step += 1
        if before is not None:
            ratios = whole(update_ratios(before, followed.parameters)).tolist()
            self._record.keep(step, "update_ratio", followed.places, ratios)
        if before is not None or followed.ring.full:
            self._read(followed)

    def _keep_norms(self, followed: Followed, skipped: Tensor | None) -> None:
        step = followed.step
        if skipped is not None or is_sampled(step) or step % self._every == 0:
            followed.ring.record(step, skipped)

    def _read(self, followed: Followed) -> None:
        found = followed.ring.read()
        followed.step -= found.skipped
        if self._record.broken_step is None:
            self._record.broken_step = found.broken
        wanted = [
            i for i, s in enumerate(found.steps) if s % self._every == 0 or self._record.keeps(s)
        ]
        self._record.add_norms(
            followed.places, [found.steps[i] for i in wanted], [found.norms[i] for i in wanted]
        )
        # One step later than need be: a second optimizer is first heard of after the first's step.
        taken = [other.step for other in self._followed.values()]
        self._record.write_kept(min(*taken, self.step - 1))

    def _read_all(self) -> None:
        for followed in self._followed.values():
            self._read(followed)

    def _look(self) -> None:
        """A snapshot on the probe batch at this step."""
        self._looked.add(self.step)
        if self._probe is None:
            return
        found = snapshot(self.model, self.weights, self._probe, self._of_snapshots, self._modes)
        if len(self._looked) == 1:
            self._record.number_layers(found.turns)
        for name, values in found.values.items():
            self._record.keep(self.step, name, range(len(self.weights)), values)
        self._record.losses.append((self.step, found.loss, found.loss_eval_mode))
        losses = {
            "probe_loss_train_mode": found.loss,
            "probe_loss_eval_mode": found.loss_eval_mode,
        }
        self._record.add_metrics(self.step, self._rate(), losses)

    def _rate(self) -> float:
        """The learning rate that all watched weights have; NaN where they have several."""
        rates = {float(group["lr"]) for each in self._followed for group in each.param_groups}
        return rates.pop() if len(rates) == 1 else math.nan

    # ----------------------------------------------------------------------- how it ends

    def _seen(self) -> Seen:
        record = self._record
        return Seen(
            status=self._status,
            reason=self._reason and f"{self._reason.removesuffix('.')}.",
            parameters=sum(map(torch.numel, self.model.parameters())),
            step=self.step,
            settings=self._settings,
            losses=record.losses,
            logged=record.logged,
            broken_step=record.broken_step,
            probed=self.probed,
        )

    def _close_at_exit(self) -> None:
        """Close what a script has left open."""
        self._end("finished", "", at_exit=True)

    def _end(self, status: str, reason: str, trouble: str = "", *, at_exit: bool = False) -> None:
        """End the watch, and warn once of trouble, be it this or what comes of ending it."""
        if self._status != "running":
            return
        self.pause()
        _watched.difference_update(id(weight.parameter) for weight in self.weights)
        atexit.unregister(self._close_at_exit)
        self._status, self._reason = status, reason
        for finish in (self._look_at_last, self._write, self._record.folder.close):
            try:
                finish()
            except Exception as error:
                trouble = trouble or f"could not be finished: {error_line(error)}"
        if not self._main and status == "finished" and not at_exit:
            trouble = trouble or (
                "has seen no optimizer that steps a watched weight; begin it before the training, "
                "with the network that is trained, not a copy of it"
            )
        if trouble:
            warnings.warn(f"normlab.watch {trouble}", WatchWarning, stacklevel=_depth_of_caller())

    def _look_at_last(self) -> None:
        if self._status == "finished" and self.step not in self._looked:
            self._look()

    def _write(self) -> None:
        self._read_all()
        self._record.finish(self._seen())

    def _fail(self, error: Exception) -> None:
        """Stop watching, with a warning: the training is worth more."""
        line = error_line(error)
        self._end("failed", line, f"has stopped, the training goes on: {line}")


def _measured(names: Sequence[str], probe: Probe | None) -> tuple[str, ...]:
    """All that is measured, with what a person asks for besides."""
    # As of normlab's own runs, whose default stands in configs/ alone.
    usual = read_yaml(config_folder() / "probes" / "all.yaml")["measure"]
    asked = [names] if isinstance(names, str) else list(names)
    choices = [
        name
        for name, known in PROBES.items()
        if known.role is None and not known.of_moves and name not in usual
    ]
    for name in asked:
        if name not in choices and name not in usual:
            ours = str(name) in PROBES
            why = "measured in normlab's own runs only" if ours else "no such measurement"
            raise ConfigError(
                f"measure={name}: {why}; choices: {', '.join(choices)}"
                f"{did_you_mean(str(name), choices)}"
            )
        if probe is None and PROBES[name].measure:
            raise ConfigError(
                f"measure={name}: is of a probe batch; add probe=(x, y, loss_fn), a batch, its "
                "targets, and a function of the network's output and the targets"
            )
    return PROBES.in_order({*usual, *asked})


def _caller() -> FrameType:
    """The frame that called what calls this: a hook's that of the optimizer's step."""
    frame = inspect.currentframe()
    assert frame is not None  # CPython has frames
    assert frame.f_back is not None
    assert frame.f_back.f_back is not None
    return frame.f_back.f_back


def _depth_of_caller() -> int:
    """How many calls a person's own line is away, for a warning to show it."""
    frame, depth = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith("normlab."):
        frame, depth = frame.f_back, depth + 1
    return max(depth, 1)


def _writes() -> bool:
    """Whether this process writes files, as the first of several does."""
    processes = torch.distributed
    return not (processes.is_available() and processes.is_initialized() and processes.get_rank())
