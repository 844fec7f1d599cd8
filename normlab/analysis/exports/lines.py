"""Runs as lines of JSON: those of `normlab run --jsonl`, one run after another in one file."""

from pathlib import Path

from normlab.analysis.exports.registry import EXPORTS, Exported, ExportKind, Selection


def _write(selection: Selection) -> Exported:
    from normlab.analysis.exports.runs import named_runs
    from normlab.runs import lines_of_run, to_json_line, write_whole

    runs = lines = 0

    def write(path: Path) -> None:
        nonlocal runs, lines
        with path.open("w", encoding="utf-8") as file:
            for named in named_runs(selection):
                runs += 1
                for line in lines_of_run(named.run):
                    file.write(f"{to_json_line(line)}\n")
                    lines += 1

    write_whole(Path(selection.place), write)
    return Exported(runs, lines, selection.place)


EXPORTS.add("jsonl", ExportKind(_write, place=lambda _: "runs.jsonl", unit="line"))
