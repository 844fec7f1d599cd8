"""What a person reads at the end of a run."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Group, RenderableType
from rich.text import Text

from normlab.measurement import predict
from normlab.networks import auto_rule, gain_of
from normlab.plugins import command
from normlab.runs import Run, WatchedRun, short_id, why_no_trials
from normlab.show.terminal.block_table import block_table
from normlab.show.terminal.layer_table import layer_table
from normlab.show.terminal.plain_tables import ShellCommand, Unpadded, diagnosis_style, facts_table
from normlab.show.terminal.strips import gradient_strips
from normlab.text import plural


class HasDiagnosis(Protocol):
    """A run's summary, or what it says of the network."""

    @property
    def status(self) -> str: ...
    @property
    def verdict(self) -> str | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def cause(self) -> str | None: ...
    @property
    def evidence(self) -> Sequence[object]: ...
    @property
    def advice(self) -> Sequence[str]: ...


def run_report(run: Run | WatchedRun, width: int) -> Group:
    """A run's layers, diagnosis, accuracy, where its files lie, and what to try next."""
    summary = run.summary
    parts: list[RenderableType] = [*gradient_strips(run.layers, width)]
    if isinstance(run, Run):
        tabled = block_table if run.config.model.of_tokens else layer_table
        table = tabled(run.layers, width, run.config.probed)
    else:
        table = layer_table(run.layers, width)
    if table is not None:
        parts += [table, Text()]
    facts = facts_table()
    for name, text in _facts(run):
        facts.add_row(name, text)
    facts.add_row("command", ShellCommand(run.environment.get("command", [])))
    facts.add_row("files", Text(str(run.folder)))
    if isinstance(run, Run) and why_no_trials(summary) is None:
        facts.add_row("next", ShellCommand([*command(), "doctor", _named(run.folder)]))
    return Group(*parts, Unpadded(facts))


def run_card(run: Run | WatchedRun, width: int) -> Group:
    """A run in short, as a notebook shows it: its name, its gradients and what became of it."""
    facts = facts_table()
    for name, text in _facts(run):
        facts.add_row(name, text)
    facts.add_row("files", Text(str(run.folder)))
    head = Text(f"{run.summary.name}, {run.summary.run_id}", style="bold")
    return Group(head, *gradient_strips(run.layers, width), facts)


def diagnosis_facts(summary: HasDiagnosis) -> list[tuple[str, Text]]:
    """A network's diagnosis, its cause and what is worth trying, each under its name."""
    facts = [("verdict", diagnosis_line(summary))]
    if summary.verdict and summary.cause != "none":
        facts.append(("cause", Text(cause_line(summary))))
    if summary.advice:
        # As a shell takes it: of a list in brackets some make a pattern.
        words = [shlex.join(advice.split(" ")) for advice in summary.advice]
        facts.append(("try", Text("  or  ".join(words))))
    return facts


def _facts(run: Run | WatchedRun) -> list[tuple[str, Text]]:
    """What became of a run, each under its name."""
    summary = run.summary
    facts = diagnosis_facts(summary)
    theory = theory_line(run) if isinstance(run, Run) else ""
    if theory:
        facts.append(("theory", Text(theory)))
    facts += [(name, Text(text)) for name, text in scores(run).items()]
    size = f"{summary.parameters:,} parameters, " if summary.parameters is not None else ""
    seconds = summary.seconds or 0.0
    threads = f", {plural(summary.threads, 'thread')}" if summary.threads else ""
    line = (
        f"{summary.name}: {size}"  # without a size where the network was never built
        f"{plural(summary.steps or 0, 'step')} in {seconds:.1f} s on {summary.device}{threads}"
    )
    if summary.extended_from:
        line += f"; the first {summary.extended_at} steps are those of {summary.extended_from}"
    facts.append(("run", Text(line)))
    if isinstance(run, Run) and run.config.model.init_gain == "auto":
        model = run.config.model
        gain = f"{gain_of(model):.4g} (auto: {auto_rule(model.activation)})"
        facts.append(("init_gain", Text(gain)))
    return facts


def _named(folder: Path) -> str:
    """What names a run to a command: the start of its id where that is looked for, or its path."""
    if folder.parent.parent.resolve() == Path("results").resolve():
        return short_id(folder)
    return str(folder)


def diagnosis_line(summary: HasDiagnosis) -> Text:
    """The diagnosis in its colour and its reason; the status where there is no diagnosis."""
    shown = summary.verdict or summary.status
    line = Text().append(shown, style=f"bold {diagnosis_style(shown)}".strip())
    return line.append(f". {summary.reason}" if summary.reason else "")


def cause_line(summary: HasDiagnosis) -> str:
    """The cause and the figures that decided it."""
    if summary.cause is None:
        return "not recorded, as the run was made by an older version; --force makes it again"
    evidence = ", ".join(map(str, summary.evidence))
    return f"{summary.cause}{': ' if evidence else ''}{evidence}"


def scores(run: Run | WatchedRun) -> dict[str, str]:
    """Train and test accuracy and loss, and at which step where that is not the last."""
    summary = run.summary
    measured_at = int(run.metrics["step"].iloc[-1]) if len(run.metrics) else 0
    stale = f" (at step {measured_at})" if measured_at != summary.steps else ""
    found = {}
    for name, accuracy, loss in (
        ("train", summary.train_acc, summary.train_loss),
        ("test", summary.test_acc, summary.test_loss),
    ):
        if accuracy is None:
            continue
        figure = "not finite" if loss is None else f"{loss:.4g}"
        # A person's own loop may tell accuracies alone.
        told = f", loss {figure}" if isinstance(run, Run) or loss is not None else ""
        found[name] = f"accuracy {accuracy:.4f}{told}{stale}"
    return found


def theory_line(run: Run) -> str:
    """Predicted against measured factor per layer at initialization; empty where either lacks."""
    summary = run.summary
    measured, factor = summary.gradient_factor_init, summary.gradient_factor_theory
    # A prediction that could not be computed at the run's end is not tried again here.
    predicted = predict(run.config) if factor is not None else None
    if predicted is None or measured is None:
        return ""
    # Hanin 2018: the gradient's fluctuations grow with the sum of 1/width over the layers.
    narrow = run.config.model.depth - 1 > run.config.model.width / 2
    return (
        f"δ ×{factor:.3g} per layer towards the input predicted at init, "
        f"×{measured:.3g} measured ({predicted.source}"
        f"{', for wide layers; these are narrow' if narrow else ''})"
    )
