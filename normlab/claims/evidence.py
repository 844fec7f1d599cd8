"""What a claim is, the runs that are its evidence, and the figures taken from them.

A measure's figures are by seed: an expression over runs, such as
`train_acc("norm=bn") - train_acc("norm=ln")`, or a function of them.
"""

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas
from pandas import DataFrame

from normlab.errors import ConfigError, RecordError
from normlab.results import COMMON_METRICS, check_where, interval, is_metric, metric_choices, where
from normlab.runs import read_table

if TYPE_CHECKING:
    from normlab.claims.demonstrations import Figures

Scale = Literal["small", "paper"]
Statistic = Literal["mean", "geomean", "median", "min", "max"]
Form = Literal["number", "points", "times", "count"]  # points: of percent
# What is measured of one claim: a figure for every seed.
BySeed = Mapping[int, float]

PASS, FAIL, CONFOUNDED, REPORTED, INCOMPLETE = (
    "PASS",
    "FAIL",
    "CONFOUNDED",
    "REPORTED",
    "INCOMPLETE",
)


@dataclass(frozen=True)
class Measure:
    """A figure with its gate: low ≤ statistic over the seeds ≤ high; none is only reported."""

    name: str
    by_seed: "str | Callable[[Evidence], BySeed]"
    gate: tuple[float, float] | None = None
    statistic: Statistic = "mean"
    form: Form = "number"
    confounds: bool = False  # outside its gate, what the others show has another explanation


@dataclass(frozen=True)
class Protocol:
    """How a claim is put to the test at one scale."""

    about: str  # what is run
    measures: tuple[Measure, ...]
    experiment: str | tuple[str, ...] | None = None  # a config's name, or overrides; None: no runs
    demonstration: str | None = None  # the name of a function of `demonstrations`
    seconds: float = 1.0  # on 2 CPU cores; NaN where it is meant for a GPU
    diverging: bool = False  # whether a run that diverges is a result like any other


@dataclass(frozen=True)
class Claim:
    """A statement with its source, and how it is tested."""

    id: str
    title: str
    statement: str
    source: str
    found: str  # by the source
    compares: str
    trap: str
    small: Protocol
    paper: Protocol | None = None
    arm: str = ""  # the command of a single arm
    pilot: str = ""  # what was seen before the gate was frozen
    file: Path | None = None  # of a person's own claim

    def protocol(self, scale: Scale) -> Protocol:
        """Raises ConfigError where the claim has none of this scale."""
        protocol = self.small if scale == "small" else self.paper
        if protocol is None:
            raise ConfigError(f"{self.id}: has no protocol at --scale {scale}; leave --scale out")
        return protocol


@dataclass(frozen=True)
class Measured:
    """A measure's figure: its statistic over n seeds, with the spread low to high."""

    measure: Measure
    value: float
    low: float
    high: float
    n: int
    missing: int = 0  # of the seeds

    @property
    def holds(self) -> bool:
        """Whether the figure lies within the gate."""
        gate = self.measure.gate
        return gate is None or gate[0] <= self.value <= gate[1]


@dataclass(frozen=True)
class Verdict:
    """How a claim fared."""

    claim: Claim
    scale: Scale
    verdict: str
    measured: tuple[Measured, ...] = ()
    reason: str = ""  # of INCOMPLETE

    @property
    def n(self) -> int:
        """The least number of seeds behind a figure."""
        return min((part.n for part in self.measured), default=0)


# ------------------------------------------------------------------------------ evidence


@dataclass(frozen=True)
class Evidence:
    """What a claim is judged by: the finished and diverged runs of its experiment."""

    runs: DataFrame
    figures: Mapping[int, "Figures"] = field(default_factory=dict)  # of a demonstration, by seed

    def one(self, metric: str, *filters: str) -> "pandas.Series[float]":
        """A metric by seed, of the runs that fulfil the filters; one run for each seed.

        Raises ConfigError where there is no such metric, or a seed has several runs.
        """
        if metric not in metric_choices(self.runs):
            raise ConfigError(
                f"{metric}: no such metric; choices: {', '.join(metric_choices(self.runs))}"
            )
        chosen = where(self.runs, filters)
        if chosen["seed"].duplicated().any():
            raise ConfigError(
                f"{metric}({', '.join(map(repr, filters))}): {len(chosen)} runs of "
                f"{chosen['seed'].nunique()} seeds; add filters until one run a seed is left"
            )
        return chosen.set_index("seed")[metric].astype(float).sort_index()

    def layers(self, folder: str) -> DataFrame:
        """A run's layers.parquet."""
        return read_table(Path(folder), "layers")

    def metrics(self, folder: str) -> DataFrame:
        """A run's metrics.parquet."""
        return read_table(Path(folder), "metrics")


# ---------------------------------------------------------------------------- expressions

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "log": np.log,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "min": np.minimum,
    "max": np.maximum,
}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
    ast.USub: lambda a: -a,
    ast.UAdd: lambda a: a,
}


class _AnyRuns(Evidence):
    """Stands for runs that are still to be made, to check an expression before they are."""

    def one(self, metric: str, *filters: str) -> "pandas.Series[float]":
        if not is_metric(metric):
            raise ConfigError(f"{metric}: no such metric; some are {', '.join(COMMON_METRICS)}")
        for text in filters:
            check_where(text)
        return pandas.Series([1.0], index=[0])


def check(expression: str) -> None:
    """Raise ConfigError where an expression cannot be read, whatever the runs will be."""
    evaluate(expression, _AnyRuns(DataFrame()))


def evaluate(expression: str, evidence: Evidence) -> BySeed:
    """The value of an expression for each seed.

    Numbers, + − * / **, abs, log, exp, sqrt, min, max, and metrics of single runs with filters as
    `--where` takes them: `train_acc("norm=bn", "model.depth=56")`. NaN for a seed that lacks a
    part. Raises ConfigError for anything else.
    """

    def value(node: ast.AST) -> Any:
        match node:
            case ast.Constant(value=int() | float() as constant) if not isinstance(constant, bool):
                return float(constant)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(left), value(right))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(operand))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                if name in _FUNCTIONS:
                    return _FUNCTIONS[name](*map(value, args))
                filters = [a.value for a in args if isinstance(a, ast.Constant)]
                if len(filters) == len(args) and all(isinstance(f, str) for f in filters):
                    return evidence.one(name, *map(str, filters))
            case ast.Name(id=name):
                return evidence.one(name)
        raise ConfigError(
            f"metric {expression!r}: cannot read {ast.unparse(node)!r}; write such as "
            '\'train_acc("norm=bn") - train_acc("norm=ln")\''
        )

    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"metric {expression!r}: not an expression; write such as "
            '\'train_acc("norm=bn") - train_acc("norm=ln")\''
        ) from error
    try:
        with np.errstate(all="ignore"):
            found = value(tree)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"metric {expression!r}: {error}") from error
    if not isinstance(found, pandas.Series):
        raise ConfigError(f"metric {expression!r}: is a number, whatever the runs are")
    return {int(s): float(v) for s, v in zip(found.index, found, strict=True)}


# --------------------------------------------------------------------------- statistics


def take(measure: Measure, evidence: Evidence) -> Measured:
    """A measure's figure; raises NormlabError where the evidence lacks what it is made of."""
    by_seed = (
        evaluate(measure.by_seed, evidence)
        if isinstance(measure.by_seed, str)
        else measure.by_seed(evidence)
    )
    seeds = sorted({int(seed) for seed in evidence.runs["seed"]}) if len(evidence.runs) else []
    # A seed without the figure must not drop out: it may be the one that tells.
    values = np.array([by_seed.get(s, math.nan) for s in seeds or by_seed], dtype=np.float64)
    if not len(values):
        raise RecordError(f"{measure.name}: no seed has what it is made of")
    value, low, high = summary(values, measure.statistic)
    return Measured(measure, value, low, high, len(values), int(np.isnan(values).sum()))


def summary(
    values: "np.ndarray[Any, np.dtype[np.float64]]", statistic: Statistic
) -> tuple[float, float, float]:
    """A statistic and its spread over the seeds.

    The spread is the 95 % confidence interval of a (geometric) mean, the 10th and 90th percentile
    about a median, and the least and greatest value of a minimum or maximum.
    """
    match statistic:
        case "mean" | "geomean":
            if not np.isfinite(values).all():
                mean = float(values.mean())
                return mean, math.nan, math.nan
            return interval(values.tolist(), log=statistic == "geomean")
        case "median":
            if not np.isfinite(values).all():
                return float(np.median(values)), math.nan, math.nan
            low, high = np.percentile(values, [10, 90])
            return float(np.median(values)), float(low), float(high)
    chosen = values.min() if statistic == "min" else values.max()
    return float(chosen), float(values.min()), float(values.max())
