"""Many runs as tables: the comparison over seeds, paired differences, the list of runs.

One grid of cells becomes a rich table, Markdown or LaTeX; tidy rows become CSV or JSON.
"""

import json
import math
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from normlab.errors import ConfigError
from normlab.results import (
    counts,
    findings,
    is_log,
    label,
    layout,
    paired,
    pooled,
    rank,
    read_results,
    summarize,
)
from normlab.runs import FINAL
from normlab.show.terminal.tables import VERDICT_STYLES, number

if TYPE_CHECKING:
    from pandas import DataFrame

# After a cell's figures, where its runs did not simply train; colour alone would not reach a pipe.
VERDICT_MARKS = {
    "vanishing": "v",
    "exploding": "e",
    "collapsed": "c",
    "undertrained": "u",
    "diverged": "d",
}
STATUS_STYLES = {"failed": "red", "diverged": "red", "interrupted": "yellow", "running": "cyan"}
# Why a run makes no pair, as `paired` counts it.
_LOST = {
    "unpaired": "without such a baseline run",
    "zeros": "of a ratio 0",
    "missing": "without the figure",
}
_GAP = 2


class Cell(NamedTuple):
    """One cell of a comparison."""

    text: str
    best: bool = False
    verdict: str | None = None


class Line(NamedTuple):
    """One line of a comparison: a row's key values, which of its metrics, and a cell a column."""

    keys: tuple[str, ...]
    metric: str
    cells: tuple[Cell, ...]
    starts: bool  # the first of its row's lines


class Grid(NamedTuple):
    """A comparison laid out."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    several: bool  # metrics, so that each line names its own


def comparison_grid(summary: "DataFrame", rows: Sequence[str], cols: Sequence[str]) -> Grid:
    """Lay `summarize`'s rows out; the best of each column and metric is marked.

    Best is the largest accuracy, the smallest loss or time, and the gradient ratio or factor
    nearest to 1, where a column holds more than one; nothing is best of other figures. A cell with
    diverged runs, or whose mean leaves some out, is not ranked.
    """
    metrics = list(dict.fromkeys(summary["metric"]))
    usual = usual_n(summary)
    placed: dict[tuple[str, ...], dict[tuple[str, ...], dict[str, dict[str, Any]]]] = {}
    columns: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for record in _records(summary):
        row = tuple(label(key, record[key]) for key in rows)
        column = tuple(label(key, record[key]) for key in cols)
        columns.setdefault(column, tuple(record[key] for key in cols))
        placed.setdefault(row, {}).setdefault(column, {})[record["metric"]] = record
    # A sorted summary brings its columns in any order.
    order = sorted(columns, key=lambda column: [rank(value) for value in columns[column]])
    best = {
        (column, metric): _best([cells.get(column, {}).get(metric) for cells in placed.values()])
        for column in order
        for metric in metrics
    }
    lines = []
    for row, cells in placed.items():
        for metric in metrics:
            line = []
            for column in order:
                figures = cells.get(column, {}).get(metric)
                if figures is None:
                    line.append(Cell(""))
                    continue
                text = _cell_text(figures, usual, marked=metric == metrics[0])
                is_best = _whole(figures) and figures["mean"] == best[column, metric]
                line.append(Cell(text, is_best, figures["verdict"]))
            lines.append(Line(row, metric, tuple(line), metric == metrics[0]))
    heads = [" ".join(f"{_short(k)} {v}" for k, v in zip(cols, c, strict=True)) for c in order]
    if not cols:
        heads = [_name(metrics[0]) if len(metrics) == 1 else ""]
    return Grid(tuple(_short(key) for key in rows), tuple(heads), tuple(lines), len(metrics) > 1)


def comparison_table(
    summary: "DataFrame",
    rows: Sequence[str],
    cols: Sequence[str],
    *,
    width: int,
    notes: Sequence[str] = (),
) -> Group:
    """The comparison as a rich table with its legend and notes.

    Where its columns do not fit the width, they continue in a further table below.
    """
    grid = comparison_grid(summary, rows, cols)
    parts: list[Table | Text] = [_block(grid, chosen) for chosen in _blocks(grid, width)]
    parts += [*legend(summary, grid), *(Text(note, style="dim") for note in notes)]
    return Group(*parts)


def usual_n(summary: "DataFrame") -> int:
    """The most frequent n of cells with an interval, of equally frequent ones the largest."""
    sizes = summary["n"][summary["n"] > 1].value_counts()
    return int(max(sizes.index[sizes == sizes.max()])) if len(sizes) else 1


def legend(summary: "DataFrame", grid: Grid) -> list[Text]:
    """What the marks of a comparison's cells mean, those that it has."""
    shown = [cell.text for line in grid.lines for cell in line.cells]
    said = []
    if usual_n(summary) > 1:
        other = " where none is written" if any(" n=" in text for text in shown) else ""
        said.append(f"n = {usual_n(summary)} runs a cell{other}")
    if any("±" in text for text in shown):
        said.append("±: 95% confidence interval of the mean (Student's t)")
    if any("×÷" in text for text in shown):
        said.append("×÷: that of a geometric mean, as a factor")
    if any("*" in text for text in shown):
        said.append("*: n = 1, no interval")
    if any(is_log(line.metric) for line in grid.lines):
        said.append("ratio: first to last layer's gradient, factor: from layer to layer")
    missing = summary.groupby("metric", sort=False)["missing"].sum()
    said += [f"{count} without {_name(metric)}" for metric, count in missing.items() if count]
    if any(cell.best for line in grid.lines for cell in line.cells):
        said.append("bold: best of its column")
    lines = [Text("; ".join(said), style="dim")] if said else []
    verdicts = {cell.verdict for line in grid.lines for cell in line.cells}
    marks = Text()
    for verdict, style in VERDICT_STYLES.items():
        if verdict in verdicts:
            mark = VERDICT_MARKS.get(verdict)
            marks.append("  " if marks else "")
            marks.append(f"{mark} {verdict}" if mark else verdict, style=style)
    return [*lines, *([marks] if marks else [])]


def counts_line(counts: Mapping[str, int]) -> str:
    """`24 runs: 22 finished, 1 diverged, 1 failed (not in the means)`."""
    states = {status: count for status, count in counts.items() if status != "repeated"}
    total = sum(states.values())
    out = " (not in the means)" if set(states) - {"finished", "diverged"} else ""
    text = f"{total} run{'s' if total != 1 else ''}: " + ", ".join(
        f"{count} {status}" for status, count in states.items()
    )
    repeated = counts.get("repeated", 0)
    twice = f"; {repeated} in several folders, counted once" if repeated else ""
    return f"{text}{out}{twice}" if total else "no runs"


def paired_table(pairs: "DataFrame", keys: Sequence[str], *, width: int) -> Group:
    """Differences from a baseline: mean, interval, pairs and p, a line a cell and metric."""
    table = _table()
    for key in keys:
        table.add_column(_short(key), overflow="fold")
    for head in ("metric", "difference", "95% interval", "n", "p"):
        table.add_column(head, justify="left" if head == "metric" else "right", no_wrap=True)
    for record in _records(pairs):
        log = is_log(record["metric"])
        form = _times if log else _points if record["metric"].endswith("_acc") else _signed
        mean, low, high, p = (record[name] for name in ("mean", "low", "high", "p"))
        apart = low == low and not low <= (1 if log else 0) <= high
        table.add_row(
            *(label(key, record[key]) for key in keys),
            _name(record["metric"]),
            Text(form(mean), style="bold" if apart else ""),
            f"{form(low)} … {form(high)}" if low == low else "–",
            str(record["n"]) + ("†" if any(record[why] for why in _LOST) else ""),
            "–" if p != p else "<0.001" if p < 0.001 else f"{p:.3f}",
        )
    baseline = pairs["baseline"].iloc[0]
    notes = [f"against {baseline}, pairs of equal seeds; p: paired t-test, two-sided, uncorrected"]
    if any(is_log(metric) for metric in pairs["metric"]):
        notes.append("×: geometric mean of the ratios to the baseline")
    notes.append("bold: the interval leaves out no difference")
    totals = ((int(pairs[why].sum()), words) for why, words in _LOST.items())
    lost = ", ".join(f"{total} {words}" for total, words in totals if total)
    notes += [f"†: not all runs made a pair: {lost}"] if lost else []
    table.width = min(width, _measure(table, width))
    return Group(table, *(Text(note, style="dim") for note in notes))


def runs_table(frame: "DataFrame", *, width: int, limit: int = 0) -> Group:
    """The runs and their states, by experiment and name; the first `limit`, 0 for all."""
    ordered = frame.sort_values(["experiment", "name", "seed"], kind="stable")
    shown = ordered.head(limit) if limit else ordered
    table = _table()
    heads = ["run", "experiment", "network", "seed", "state", "verdict", "train", "seconds"]
    if width < 100:
        heads.pop()
    for head in heads:
        right, long = head in ("seed", "train", "seconds"), head in ("experiment", "network")
        table.add_column(
            head, justify="right" if right else "left", no_wrap=not long, overflow="fold"
        )
    for record in _records(shown):
        status, verdict = record["status"], label("", record["verdict"])
        accuracy, seconds = record.get("train_acc", math.nan), record.get("seconds", math.nan)
        cells = [
            record["run_id"],
            Text(label("", record["experiment"])),
            Text(label("", record["name"])),
            str(record["seed"]),
            Text(status, style=STATUS_STYLES.get(status, "")),
            Text(verdict, style=VERDICT_STYLES.get(verdict, "")),
            _accuracy(accuracy),
            f"{seconds:.1f}" if seconds == seconds else "–",
        ]
        table.add_row(*cells[: len(heads)])
    table.width = min(width, _measure(table, width))
    left = len(frame) - len(shown)
    return Group(table, *([Text(f"… and {left} more; --limit 0 shows all")] if left > 0 else []))


# --------------------------------------------------------------------- other formats


def to_json_rows(frame: "DataFrame") -> str:
    """Tidy rows as a strict JSON list of objects; what is absent or not finite is null."""
    rows = [{key: _plain(value) for key, value in record.items()} for record in _records(frame)]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(frame: "DataFrame") -> str:
    """Tidy rows as CSV; what is absent is empty."""
    return str(frame.to_csv(index=False)).rstrip("\n")


def to_markdown(grid: Grid, notes: Sequence[str] = ()) -> str:
    """A comparison as a GitHub Markdown table, its notes as a paragraph below."""
    keys = [*grid.rows, *(["metric"] if grid.several else [])]

    def line(texts: Sequence[str]) -> str:
        return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"

    lines = [line([*keys, *grid.columns])]
    lines.append(f"|{'---|' * len(keys)}{'---:|' * len(grid.columns)}")
    for row in grid.lines:
        cells = [f"**{cell.text}**" if cell.best else _stars(cell.text) for cell in row.cells]
        lines.append(line([*row.keys, *([_name(row.metric)] if grid.several else []), *cells]))
    paragraph = ["", ".\n".join(map(_stars, notes)) + "."] if notes else []
    return "\n".join([*lines, *paragraph])


def to_latex(grid: Grid, notes: Sequence[str] = ()) -> str:
    """A comparison as a LaTeX tabular for the booktabs package, its notes as comments below."""
    keys = [*grid.rows, *(["metric"] if grid.several else [])]

    def line(texts: Sequence[str]) -> str:
        return f"{' & '.join(texts)} " + r"\\"

    lines = [
        rf"\begin{{tabular}}{{{'l' * len(keys)}{'r' * len(grid.columns)}}}",
        r"\toprule",
        line([_latex(head) for head in (*keys, *grid.columns)]),
        r"\midrule",
    ]
    for row in grid.lines:
        names = [*row.keys, *([_name(row.metric)] if grid.several else [])]
        cells = [
            rf"\textbf{{{_latex(cell.text)}}}" if cell.best else _latex(cell.text)
            for cell in row.cells
        ]
        lines.append(line([*map(_latex, names), *cells]))
    comments = [f"% {note}" for note in notes]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *comments])


# ----------------------------------------------------------------------------- pieces


def _records(frame: "DataFrame") -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _cell_text(record: Mapping[str, Any], usual: int, marked: bool) -> str:
    mean, high, n = record["mean"], record["high"], record["n"]
    zeros = record["zeros"]
    form = _accuracy if record["metric"].endswith("_acc") else number
    text = form(mean)
    if n == 1:
        text += "*"
    elif n > 1 and is_log(record["metric"]):
        factor = high / mean if mean else math.nan
        text += (
            " ×÷>999"
            if factor > 999
            else f" ×÷{factor:.2g}"
            if factor < 100
            else f" ×÷{factor:.0f}"
        )
    elif n > 1:
        text += f" ±{form(high - mean)}"
    if n > 1 and n != usual:
        text += f" n={n}"
    if n and zeros:
        text += f" +{zeros}·0"
    mark = VERDICT_MARKS.get(record["verdict"] or "") if marked else None
    return f"{text} {mark}" if mark else text


def _best(records: Sequence[Mapping[str, Any] | None]) -> float:
    """The best mean of a column; NaN, which equals nothing, where there is none."""
    present = [r for r in records if r and math.isfinite(r["mean"]) and _whole(r)]
    if len(present) < 2:
        return math.nan
    metric = present[0]["metric"]
    means = [float(record["mean"]) for record in present]
    if metric.endswith("_acc"):
        return max(means)
    if metric.endswith("_loss") or metric == "seconds":
        return min(means)
    if is_log(metric):
        return min(means, key=lambda mean: abs(math.log(mean)) if mean > 0 else math.inf)
    return math.nan


def _whole(record: Mapping[str, Any]) -> bool:
    """Whether a cell's mean is that of all of its runs, none of them diverged."""
    short = ("zeros", "missing", "diverged", "left_out")
    return not any(record[name] for name in short)


def _blocks(grid: Grid, width: int) -> list[list[int]]:
    """The columns of each table, as many as fit beside the keys; one at least."""
    keys = [
        max(cell_len(name), *(cell_len(line.keys[i]) for line in grid.lines), 0)
        for i, name in enumerate(grid.rows)
    ]
    if grid.several:
        keys.append(max(6, *(cell_len(_name(line.metric)) for line in grid.lines)))
    room = width - sum(size + _GAP for size in keys)
    blocks: list[list[int]] = [[]]
    used = 0
    for i, head in enumerate(grid.columns):
        size = max(cell_len(head), *(cell_len(line.cells[i].text) for line in grid.lines)) + _GAP
        if blocks[-1] and used + size > room:
            blocks.append([])
            used = 0
        blocks[-1].append(i)
        used += size
    return blocks


def _block(grid: Grid, chosen: Sequence[int]) -> Table:
    table = _table()
    for name in grid.rows:
        table.add_column(name, overflow="fold")
    if grid.several:
        table.add_column("metric", overflow="fold")
    for i in chosen:
        table.add_column(grid.columns[i], justify="right", overflow="fold")
    for number_, line in enumerate(grid.lines):
        keys = line.keys if line.starts else ("",) * len(line.keys)
        cells = [
            Text(
                line.cells[i].text,
                style=" ".join(
                    filter(
                        None,
                        (
                            "bold" if line.cells[i].best else "",
                            VERDICT_STYLES.get(line.cells[i].verdict or "", ""),
                        ),
                    )
                ),
            )
            for i in chosen
        ]
        ends = grid.several and (number_ + 1 == len(grid.lines) or grid.lines[number_ + 1].starts)
        metric = [Text(_name(line.metric), style="dim")] if grid.several else []
        table.add_row(*map(Text, keys), *metric, *cells, end_section=ends)
    return table


def _table() -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP, 0, 0),
        collapse_padding=True,
        header_style="bold",
    )


def _measure(table: Table, width: int) -> int:
    from rich.console import Console

    return table.__rich_measure__(console := Console(width=width), console.options).maximum


def _name(metric: Any) -> str:
    """A metric's name in a table, where room is scarce: `ratio end`, `train_acc`."""
    return (
        str(metric).removeprefix("gradient_").replace("_", " ") if is_log(metric) else str(metric)
    )


def _short(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _accuracy(value: float) -> str:
    return f"{value:.3f}" if value == value else "–"


def _points(value: float) -> str:
    return f"{value:+.3f}" if value == value else "–"


def _signed(value: float) -> str:
    return f"{value:+.3g}" if value == value else "–"


def _times(value: float) -> str:
    if value != value:
        return "–"
    return ">999" if value > 999 else "<0.001" if value < 0.001 else f"×{value:.3g}"


def _stars(text: str) -> str:
    return text.replace("*", r"\*")


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


_LATEX = {
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "±": r" $\pm$ ",
    "×÷": r" $\times\!\div$ ",
    "·": r"$\cdot$",
    "–": "--",
}


def _latex(text: str) -> str:
    text = text.replace(" ±", "±").replace(" ×÷", "÷")
    return "".join(_LATEX["×÷"] if c == "÷" else _LATEX.get(c, c) for c in text)


# --------------------------------------------------------------- what the command line asks


def comparison(
    frame: "DataFrame",
    *,
    rows: Sequence[str] | None,
    cols: Sequence[str] | None,
    metrics: Sequence[str],
    sort: str | None,
    baseline: str | None,
    form: str,
    width: int,
) -> Group | str:
    """A comparison in one of its forms: `rich` for a terminal, or csv, json, md or latex as text.

    With `baseline` it is the paired differences, which have no md or latex form. Raises ConfigError
    where a key, metric or form is not there.
    """
    if frame.empty and form == "rich":
        return Group(Text("no runs"))
    rows, cols = layout(frame, rows, cols)
    notes = [counts_line(counts(frame))]
    mixed = pooled(frame, [*rows, *cols])
    if mixed:
        notes.append(f"runs that differ in {', '.join(mixed)} share a cell; name it in --rows")
    if baseline is not None:
        pairs = paired(frame, baseline, metrics, rows, cols)
        keys = list(pairs.columns[: pairs.columns.get_loc("metric")])
        match form:
            case "rich":
                table = paired_table(pairs, keys, width=width)
                return Group(table, *(Text(note, style="dim") for note in notes))
            case "json":
                return to_json_rows(pairs)
            case "csv":
                return to_csv(pairs)
        raise ConfigError(f"--format {form}: --baseline has none; choices: rich, csv, json")
    summary = summarize(frame, rows, cols, metrics, sort)
    match form:
        case "json":
            return to_json_rows(summary)
        case "csv":
            return to_csv(summary)
        case "md" | "latex":
            grid = comparison_grid(summary, rows, cols)
            notes = [*(text.plain for text in legend(summary, grid)), *notes]
            return to_markdown(grid, notes) if form == "md" else to_latex(grid, notes)
    return comparison_table(summary, rows, cols, width=width, notes=notes)


SWEEP_METRICS = ("train_acc", "gradient_ratio_init")


def sweep_table(folders: Sequence[Path], ids: Set[str], width: int) -> Group | None:
    """The comparison of a sweep's runs so far; None before the first has ended."""
    frame = _of_sweep(folders, ids)
    frame = frame[frame["status"].isin(FINAL)]
    if frame.empty:
        return None
    rows, cols = layout(frame)
    summary = summarize(frame, rows, cols, SWEEP_METRICS)
    return comparison_table(summary, rows, cols, width=width)


def sweep_report(folders: Sequence[Path], ids: Set[str], width: int) -> Group:
    """What a person reads at a sweep's end: the comparison, what was seen, where the files lie."""
    frame = _of_sweep(folders, ids)
    if frame.empty:
        return Group(Text("no run has ended yet"))
    rows, cols = layout(frame)
    summary = summarize(frame, rows, cols, SWEEP_METRICS)
    notes = [counts_line(counts(frame))]
    return Group(
        comparison_table(summary, rows, cols, width=width, notes=notes),
        Text(),
        *(Text(sentence) for sentence in findings(frame)),
        Text(f"files: {', '.join(map(str, folders))}", style="dim"),
    )


def _of_sweep(folders: Sequence[Path], ids: Set[str]) -> "DataFrame":
    frame, _ = read_results([folder for folder in folders if folder.is_dir()])
    return frame[frame["run_id"].isin(ids)]
