"""The lines of many runs in one file."""

import json
from pathlib import Path

from normlab.analysis import export, read_results
from normlab.runs import lines_of_run, read_run, to_json_line


def test_the_lines_of_every_run_lie_one_run_after_another(made: Path, tmp_path: Path) -> None:
    frame = read_results([made])[0]
    told = export(frame, "jsonl", str(tmp_path / "all.jsonl"))
    text = (tmp_path / "all.jsonl").read_text(encoding="utf-8")
    runs = [read_run(Path(folder)) for folder in frame["folder"]]
    lines = [to_json_line(line) for run in runs for line in lines_of_run(run)]
    assert text.splitlines() == lines
    assert (told.runs, told.rows) == (4, len(lines))
    assert [json.loads(line)["event"] for line in lines].count("end") == 4
