"""Verdicts as they are kept and printed."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from normlab.claims import CLAIMS, Measure, as_rows, digest, remember, remembered
from normlab.show import to_verdict_json, to_verdict_markdown
from normlab.show.terminal.verdicts import gate_text
from tests.claims.doctored import doctored, factor_by_init


@pytest.mark.parametrize(
    ("gate", "shown"),
    [
        ((0, 5), "0 … 5"),
        ((0.5, 1), "0.5 … 1"),
        ((-math.inf, 5), "≤ 5"),
        ((4, math.inf), "≥ 4"),
        ((0, 0), "= 0"),
        ((-math.inf, -1e-12), "< 0"),
    ],
)
def test_gates_are_printed_as_they_are(gate, shown):
    assert gate_text(Measure(name="x", value="train_acc", gate=gate)) == shown


def test_verdicts_are_remembered_and_printed(tmp_path):
    found = doctored("C09", factor_by_init(), tmp_path)
    endless = replace(
        found,
        measured=tuple(
            replace(part, measure=part.measure.model_copy(update={"gate": (0.5, math.inf)}))
            for part in found.measured
        ),
    )
    remember([found], tmp_path)
    last = remembered(tmp_path, "small", CLAIMS.values())["C09"]
    assert (last.verdict, last.holds) == ("PASS", True)
    assert remembered(tmp_path, "paper", CLAIMS.values()) == {}
    (tmp_path / ".verdicts" / "C08-small.json").write_text("{")
    assert list(remembered(tmp_path, "small", CLAIMS.values())) == ["C09"]
    (row,) = json.loads(to_verdict_json([endless]))
    assert {"id", "verdict", "measured", "gate", "n"} <= set(row)
    assert row["gate"]["δ per layer, He"] == [0.5, None]
    assert row["n"] == 3
    assert as_rows([found])[0]["measured"]["δ per layer, He"]["value"] == pytest.approx(1)
    lines = to_verdict_markdown([found]).splitlines()
    assert len(lines) == 2 + len(found.measured)
    assert "**PASS**" in lines[2]
    assert Path(tmp_path / ".verdicts" / "C09-small.json").exists()


def holds(root, claim=CLAIMS["C09"]):
    return remembered(root, "small", [claim])["C09"].holds


def other_gate(claim):
    first, *others = claim.small.measures
    measures = (first.model_copy(update={"gate": (0.0, 2.0)}), *others)
    return claim.model_copy(update={"small": claim.small.model_copy(update={"measures": measures})})


def test_a_remembered_verdict_holds_while_its_runs_and_gates_are_the_same(tmp_path):
    root = tmp_path / "results"
    found = doctored("C09", factor_by_init(), root)
    remember([found], root)
    moved = root.rename(tmp_path / "moved")
    assert holds(moved)
    assert not holds(moved, other_gate(CLAIMS["C09"]))

    summary = moved / found.folders[0].relative_to(root) / "summary.json"
    whole = summary.read_bytes()
    for text in (whole.replace(b'"seconds": 1.0', b'"seconds": 2.0'), None, whole):
        summary.unlink() if text is None else summary.write_bytes(text)
        assert holds(moved) == (text == whole)


def test_a_remembered_verdict_holds_while_what_runs_follow_from_is_the_same(tmp_path, monkeypatch):
    configs = tmp_path / "configs"
    for name in ("norm/bn.yaml", "claim/C09.yaml"):
        (configs / name).parent.mkdir(parents=True)
        (configs / name).write_text("a: 1")
    monkeypatch.setattr(digest, "config_folder", lambda: configs)

    def evidence():
        digest._configs.cache_clear()
        return digest.evidence_digest(CLAIMS["C09"], "small", [])

    before = evidence()
    (configs / "claim" / "C09.yaml").write_text("a: 2")  # of other words, or of its gates as given
    assert evidence() == before
    (configs / "norm" / "bn.yaml").write_text("a: 2")
    assert evidence() != before
    digest._configs.cache_clear()


def test_an_old_verdict_beside_unrelated_runs_is_no_verdict(tmp_path):
    remember([doctored("C09", factor_by_init(), tmp_path)], tmp_path)
    kept = tmp_path / ".verdicts" / "C09-small.json"
    row = json.loads(kept.read_text())
    for key in ("evidence", "runs"):  # as earlier versions wrote it
        del row[key]
    kept.write_text(json.dumps({**row, "judged": "2020-01-01T00:00:00+00:00"}))
    assert not holds(tmp_path)
    for bad in ({"runs": 3}, {"verdict": "\x1b[31mPASS"}, {"judged": "\x1b[0m"}, {"judged": 3}):
        kept.write_text(json.dumps({**row, **bad}))
        assert remembered(tmp_path, "small", [CLAIMS["C09"]]) == {}
    kept.unlink()
    os.mkfifo(kept)
    assert remembered(tmp_path, "small", [CLAIMS["C09"]]) == {}
