"""How the shell goes on with what is being typed."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import typer


def complete_overrides(context: typer.Context, incomplete: str) -> list[str]:
    """How a setting that is being typed can go on."""
    from normlab.config import complete_override

    return complete_override(context.params.get("overrides") or [], incomplete)


def complete_claims(incomplete: str) -> list[str]:
    """The ids of claims that begin so."""
    from normlab.claims import claim_ids

    return [name for name in claim_ids() if name.startswith(incomplete.upper())]


def complete_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The ids of runs that begin so, each with its network and what became of it."""
    from normlab.runs import parse_summary, run_folders

    root = Path(context.params.get("root") or "results")
    found: dict[str, str] = {}
    for folder, text in run_folders([root], []) if root.is_dir() else ():
        name = Path(folder).name
        if name.startswith(incomplete):
            with contextlib.suppress(ValueError, RecursionError):
                told = parse_summary(text) if text is not None else None
                found[name] = f"{told.name}, {told.verdict or told.status}" if told else ""
    return list(found.items())


def complete_where(incomplete: str) -> list[str]:
    """The keys that runs can be chosen by, and their values."""
    from normlab.config import complete_override
    from normlab.vocabulary import CAUSES, DIAGNOSES, STATUSES

    known: dict[str, Iterable[str]] = {"verdict": DIAGNOSES, "cause": CAUSES, "status": STATUSES}
    own = [f"{key}={value}" for key, values in known.items() for value in values]
    words = own if "=" in incomplete else [f"{key}=" for key in known]
    return [*complete_override([], incomplete), *(w for w in words if w.startswith(incomplete))]


def complete_where_in_bash(context: typer.Context, incomplete: str) -> list[str]:
    """The values of a key behind --where in bash, to which `=` is a word of its own.

    Nothing elsewhere, so that the shell completes folders.
    """
    *_, key = context.params.get("where") or [""]
    folders = list(map(str, context.params.get("folders") or ()))
    if not key or "=" in key or (folders[-1:] != ["="] and (folders or incomplete)):
        return []
    return [word.partition("=")[2] for word in complete_where(f"{key}={incomplete}")]


def complete_keys(incomplete: str) -> list[str]:
    """Keys by commas, each once."""
    from normlab.config import complete_key

    return _by_commas(incomplete, complete_key)


def complete_metrics(incomplete: str) -> list[str]:
    """Metrics by commas, each once."""
    from normlab.vocabulary import METRICS

    return _by_commas(incomplete, lambda _: METRICS)


def complete_curves(incomplete: str) -> list[str]:
    """The metrics that are measured as a run goes on."""
    from normlab.show import PICTURES

    return [name for name in PICTURES["curves"].figures if name.startswith(incomplete)]


def complete_probes(incomplete: str) -> list[str]:
    """The probes that begin so."""
    from normlab.config import value_choices

    names = [*value_choices("probes.measure"), *value_choices("probes.tokens")]
    return [name for name in names if name.startswith(incomplete)]


def _by_commas(incomplete: str, choices: Callable[[str], Iterable[str]]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [
        f"{before}{comma}{choice}"
        for choice in choices(last)
        if choice.startswith(last) and choice not in taken
    ]
