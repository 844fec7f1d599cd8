"""One self-contained HTML page of a results folder: findings, table, pictures, verdicts, commands.

Everything that comes from a config or a folder's name is escaped; the page asks for nothing from
any network.
"""

import html
import json
import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pandas import DataFrame

from normlab.claims import CLAIMS, Scale, remembered
from normlab.config import config_folder
from normlab.errors import ConfigError
from normlab.results import DEPTH, counts, findings, series, summarize
from normlab.runs import write_whole
from normlab.show import charts
from normlab.show.terminal.comparisons import counts_line
from normlab.show.terminal.tables import number

# A report's pictures show so many variants, those with the most runs.
MOST_VARIANTS = charts.MOST_VARIANTS
_METRICS = ("train_acc", "test_acc", "gradient_ratio_init", "gradient_ratio_end")
_HEADS = ("train accuracy", "test accuracy", "R at init", "R at the end")


def check_page(file: Path) -> None:
    """Raise ConfigError where a report cannot be written to such a file."""
    if file.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{file}: a report is a page; name it {file.with_suffix('.html')}")
    if not file.resolve().parent.is_dir():
        raise ConfigError(f"{file}: there is no folder {file.parent}")


def write_report(
    frame: DataFrame,
    folders: Sequence[Path],
    file: Path,
    verdicts: Sequence[Mapping[str, Any]] = (),
    tell: series.Tell | None = None,
    where: Sequence[str] = (),
) -> None:
    """Write the page whole; `tell` hears how far reading is, `where` chose the runs.

    Raises ConfigError where no run has finished or the file is no .html.
    """
    check_page(file)
    page = page_of(frame, folders, verdicts, tell, where)
    write_whole(file, lambda path: path.write_text(page, encoding="utf-8"))


def verdicts_of(frame: DataFrame, folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The last verdicts about the experiments of these runs, of `verify` on the same results."""
    names = set(frame["experiment"])
    found = {}
    for folder in folders:
        for root in (folder, *folder.resolve().parents[:2]):
            for scale in get_args(Scale):
                for identity, row in remembered(root, scale).items():
                    claim = CLAIMS.get(identity)
                    protocol = claim and (claim.small if scale == "small" else claim.paper)
                    if claim and protocol and protocol.experiment in names:
                        found[identity] = {"id": identity, "title": claim.title, **row}
    return [found[identity] for identity in sorted(found)]


def page_of(
    frame: DataFrame,
    folders: Sequence[Path],
    verdicts: Sequence[Mapping[str, Any]] = (),
    tell: series.Tell | None = None,
    where: Sequence[str] = (),
) -> str:
    """The page as text."""
    runs = series.with_variants(frame)
    shown, left = _most(runs)
    pictures: list[tuple[str, Any]] = []
    notes: list[str] = [f"{left} more variants are in the table only."] if left else []
    names = list(shown["variant"].unique())
    depths, have = charts.few_depths(shown[DEPTH]), shown[DEPTH].nunique()
    if have > len(depths):
        kept = ", ".join(map(str, depths))
        notes.append(f"By layer and by epoch only depths {kept} are drawn, of {have}.")
    panels = shown[shown[DEPTH].isin(depths)]
    makers: tuple[tuple[str, Callable[[series.Tell | None], Any]], ...] = (
        ("error", lambda _: charts.depth(series.errors(shown), names)),
        ("gradient", lambda hear: _gradient_history(panels, hear, names)),
        ("accuracy", lambda hear: _accuracy(panels, hear, names)),
        ("theory", lambda hear: charts.theory(series.predicted(_few(panels), hear), names)),
    )
    for name, make in makers:
        if name == "error" and shown[DEPTH].nunique() < 2:
            continue
        if name == "theory" and "gradient_factor_theory" not in shown:
            continue
        if name == "theory" and shown["gradient_factor_theory"].isna().all():
            continue
        try:
            pictures.append((name, make(tell)))
        except ConfigError as error:
            notes.append(f"No picture of the {name}: {error}.")
    title = ", ".join(dict.fromkeys(str(name) for name in runs["experiment"]))
    body = [
        f"<h1>{_text(title)}</h1>",
        *(f"<p class=question>{_text(line)}</p>" for line in _questions(runs)),
        "<section>",
        *(f"<p class=finding>{_text(sentence)}</p>" for sentence in findings(frame)),
        "</section>",
        _table(runs, frame),
        *(f'<div class=picture id="{name}"></div>' for name, _ in pictures),
        *(f"<p class=note>{_text(note)}</p>" for note in notes),
        _verdict_table(verdicts),
        _repeat(runs, folders, where),
    ]
    specs = {name: _spec(chart) for name, chart in pictures}
    return _PAGE.format(
        title=_text(title),
        style=_STYLE,
        body="\n".join(filter(None, body)),
        specs=charts.script_json(specs),
        bundle=charts.bundle(),
        script=_SCRIPT,
    )


def _most(runs: DataFrame) -> tuple[DataFrame, int]:
    """The runs of the variants with the most runs, and how many variants are left out."""
    numbers = runs["variant"].value_counts()
    kept = set(numbers.index[:MOST_VARIANTS])
    return runs[runs["variant"].isin(kept)], len(numbers) - len(kept)


def _gradient_history(runs: DataFrame, hear: series.Tell | None, names: Sequence[str]) -> Any:
    table = series.profiles(_few(runs), "delta_rms", hear, by="step")
    return charts.gradient_history(table, "delta_rms", names)


def _accuracy(runs: DataFrame, hear: series.Tell | None, names: Sequence[str]) -> Any:
    return charts.curves(series.curves(_few(runs), "train_acc", hear), "train_acc", names)


# Reading a run's table takes milliseconds; a band over more seeds than this looks no different.
_MOST_SEEDS = 30


def _few(runs: DataFrame) -> DataFrame:
    few: DataFrame = runs[runs.groupby(["variant", DEPTH]).cumcount() < _MOST_SEEDS]
    return few


# ---------------------------------------------------------------------------- its parts


def _questions(runs: DataFrame) -> list[str]:
    """The question that each experiment's YAML asks in its header, if normlab has that YAML."""
    found = []
    for name in dict.fromkeys(str(name) for name in runs["experiment"]):
        file = config_folder() / "experiment" / f"{name}.yaml"
        if re.fullmatch(r"[\w-]+", name) and file.is_file():
            lines = file.read_text(encoding="utf-8").splitlines()[1:]
            comment = [line[1:].strip() for line in lines[: _end(lines)]]
            found.append(" ".join(comment))
    return found


def _end(lines: Sequence[str]) -> int:
    return next((i for i, line in enumerate(lines) if not line.startswith("# ")), len(lines))


def _table(runs: DataFrame, frame: DataFrame) -> str:
    summary = summarize(runs.assign(name=runs["variant"]), ["name"], [DEPTH], _METRICS)
    rows = []
    for (name, depth), cell in summary.groupby(["name", DEPTH], sort=False):
        parts = cell.to_dict("records")  # one a metric, in their order
        verdict = str(parts[0]["verdict"] or "")
        figures = "".join(
            f'<td data-value="{_sortable(part["mean"])}">{_figure(metric, part)}</td>'
            for metric, part in zip(_METRICS, parts, strict=True)
        )
        rows.append(
            f'<tr><td>{_text(name)}</td><td data-value="{depth}">{depth}</td>'
            f'<td data-value="{int(parts[0]["n"])}">{int(parts[0]["n"])}</td>{figures}'
            f'<td class="{_text(verdict)}">{_text(verdict)}</td></tr>'
        )
    heads = ("variant", "depth", "n", *_HEADS, "verdict")
    head = "".join(f"<th><button>{_text(name)}</button></th>" for name in heads)
    return (
        f"<div class=wide><table id=runs><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f"<p class=note>{_text(counts_line(counts(frame)))}. ±: 95% confidence interval of the "
        "mean over n seeds (Student's t), ×÷ of a geometric mean as a factor. R: first over last "
        "hidden layer's gradient, +k·0: k runs in which it was 0. Click a head to sort.</p>"
    )


def _sortable(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _figure(metric: str, part: Mapping[Any, Any]) -> str:
    mean, high = float(part["mean"]), float(part["high"])
    if math.isnan(mean):
        return "–"
    if metric.endswith("_acc"):
        spread = "" if math.isnan(high) else f" ±{100 * (high - mean):.1f}"
        return f"{100 * mean:.1f}{spread} %"
    spread = "" if math.isnan(high) or not mean else f" ×÷{_factor(high / mean)}"
    zeros = int(part["zeros"]) if mean else 0
    return f"{_text(number(mean))}{spread}{f' +{zeros}·0' if zeros else ''}"


def _factor(value: float) -> str:
    return "&gt;999" if value > 999 else f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _verdict_table(verdicts: Sequence[Mapping[str, Any]]) -> str:
    if not verdicts:
        return ""
    rows = "".join(
        f"<tr><td>{_text(row['id'])}</td><td>{_text(row['title'])}</td>"
        f'<td class="{_text(row["verdict"].lower())}">{_text(row["verdict"])}</td></tr>'
        for row in verdicts
    )
    return f"<h2>Claims</h2><table class=claims><tbody>{rows}</tbody></table>"


def _repeat(runs: DataFrame, folders: Sequence[Path], where: Sequence[str]) -> str:
    environments = [_json(Path(str(folder)) / "environment.json") for folder in runs["folder"]]
    commands = _distinct(_command(environment.get("command")) for environment in environments)
    if not commands:
        names = dict.fromkeys(str(name) for name in runs["experiment"])
        known = [n for n in names if (config_folder() / "experiment" / f"{n}.yaml").is_file()]
        commands = [f"normlab sweep experiment={name}" for name in known]
    if len(commands) > _MOST_COMMANDS:
        more = len(commands) - _MOST_COMMANDS
        commands = [*commands[:_MOST_COMMANDS], f"# {more} more, in the runs' environment.json"]
    chosen = [word for condition in where for word in ("--where", condition)]
    commands.append(shlex.join(["normlab", "compare", *map(str, folders), *chosen]))
    facts = {
        name: _distinct(environment.get(key) for environment in environments)
        for name, key in _FACTS.items()
    }
    facts["commit"] = _distinct(map(_commit, environments))
    told = [f"{name} {' and '.join(values)}".strip() for name, values in facts.items() if values]
    seconds = float(runs["seconds"].sum())
    config = _read(Path(str(runs["folder"].iloc[0])) / "config.yaml")
    return (
        "<h2>To repeat it</h2><pre>"
        + "\n".join(_text(command) for command in commands)
        + f"</pre><p class=note>{_text(', '.join(told))}. "
        f"{len(runs)} runs, {seconds:,.0f} s of training in all.</p>"
        f"<details><summary>The first run's configuration</summary><pre>{_text(config)}</pre>"
        "</details>"
    )


_MOST_COMMANDS = 6
_FACTS = {
    "normlab": "normlab",
    "PyTorch": "torch",
    "Python": "python",
    "on": "device",
    "": "platform",
}


def _distinct(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value))


def _command(words: Any) -> str:
    """A recorded command as a person types it, without the page that it wrote besides."""
    if not isinstance(words, list) or not words:
        return ""
    typed = [str(word) for word in words]
    if typed[0] == "__main__.py":  # of python -m normlab
        typed[0] = "normlab"
    if "--report" in typed:
        at = typed.index("--report")
        del typed[at : at + 2]
    return shlex.join(word for word in typed if not word.startswith("--report="))


def _commit(environment: Mapping[str, Any]) -> str:
    commit = str(environment.get("git_commit") or "")[:10]
    return f"{commit} with changes" if commit and environment.get("git_dirty") else commit


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(_read(file))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# ------------------------------------------------------------------------------ escaping


def _text(text: object) -> str:
    return html.escape(str(text), quote=True)


def _spec(chart: Any) -> dict[str, Any]:
    spec: dict[str, Any] = chart.to_dict()
    spec.get("usermeta", {}).clear()
    return spec


_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 Helvetica, Arial, sans-serif; color: #222; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin-top: 2rem; }
.question { color: #555; margin-top: 0; }
.finding { font-size: 1.05rem; }
.note { color: #666; font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #e4e4e4;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.claims td { text-align: left; white-space: normal; }
th button { font: inherit; font-weight: bold; border: 0; background: none; padding: 0;
  cursor: pointer; color: inherit; }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
.trains, .healthy, .pass { color: #1a7f37; } .vanishing { color: #0550ae; }
.exploding, .diverged, .fail { color: #c0261c; } .collapsed, .confounded { color: #8250df; }
.undertrained, .incomplete { color: #9a6700; }
.picture { margin: 1.5rem 0; }
.picture svg { max-width: 100%; height: auto; }
.picture form { font-size: .9rem; margin-top: .4rem; }
pre { background: #f6f6f6; padding: .7rem; overflow-x: auto; font-size: .85rem; }
@media print { body { margin: 0; max-width: none; } .picture, table { break-inside: avoid; }
  details { display: none; } }
"""

_SCRIPT = """
const specs = JSON.parse(document.getElementById("specs").textContent);
window.views = {};
const narrow = window.innerWidth < 700;
for (const [name, spec] of Object.entries(specs)) {
  if (narrow) {  // a phone: panels below each other, the legend below them
    if (spec.columns) spec.columns = 1;
    Object.assign(spec.config.legend, { orient: "bottom", columns: 2 });
  }
  vegaEmbed("#" + name, spec, { renderer: "svg", actions: { export: true, source: false,
    compiled: false, editor: false } }).then(result => { window.views[name] = result.view; });
}
const table = document.getElementById("runs");
table.querySelectorAll("th").forEach((head, column) => head.addEventListener("click", () => {
  const down = head.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => { const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent
      : cell.dataset.value === "" ? -Infinity : Number(cell.dataset.value); };
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1); });
  rows.forEach(row => table.tBodies[0].append(row));
}));
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="specs">{specs}</script>
<script>{bundle}</script>
<script>{script}</script>
</body>
</html>
"""
