import json
import math
import shutil
from pathlib import Path

import pytest

from normlab.analysis import read_results
from normlab.config import Config, compose, run_id
from normlab.errors import RecordError
from normlab.runs import (
    SUMMARY_VERSION,
    Outcome,
    Summary,
    is_final,
    parse_summary,
    read_run,
    read_summary,
    to_json,
)
from normlab.vocabulary import ERRORS, FINAL, METRICS, STATUSES

OLD = Path(__file__).parents[1] / "golden" / "old"
OLD_RUN, OLD_INTERRUPTED = OLD / "566ce0d1e1", OLD / "a03784ee9a"


def text_of(summary: Summary) -> bytes:
    return to_json(summary.to_plain()).encode()


def test_every_metric_is_a_field() -> None:
    assert set(METRICS) - set(ERRORS) <= set(Summary.model_fields)


def test_the_keys_are_those_of_before_after_the_version() -> None:
    before = json.loads((OLD_RUN / "summary.json").read_text())
    summary = parse_summary((OLD_RUN / "summary.json").read_bytes())
    assert summary.version == 0
    now = summary.to_plain()
    made_with = ("processor", "threads", "data_sha256", "normlab", "torch", "commit", "started")
    later = (*made_with, "channels_last", "cause", "extended_from", "extended_at")
    added = {**dict.fromkeys(later), "evidence": []}
    assert set(now) == {"version", *before, *added}
    assert now == {"version": 0, **before, **added}


def test_what_is_written_is_read() -> None:
    written = Summary.pending(compose(), "failed", reason="é×δ", advice=("norm=bn",), seconds=2.5)
    assert written.version == SUMMARY_VERSION
    assert parse_summary(text_of(written)) == written


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_stays_strict(value: float) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    summary = Summary(run_id="a", status="finished", train_loss=value)
    assert json.loads(text_of(summary), parse_constant=refuse)["train_loss"] is None
    assert parse_summary(text_of(summary)).train_loss is None


@pytest.mark.parametrize("status", STATUSES)
def test_a_stand_in_knows_its_run(status: str) -> None:
    config = compose(["norm=bn"])
    summary = Summary.pending(config, status)
    assert (summary.run_id, summary.status) == (run_id(config), status)
    assert summary.final is (status in FINAL)
    assert summary.verdict is summary.train_acc is summary.steps is None
    assert Config.model_validate_json(json.dumps(summary.config)) == config


def test_keys_that_a_later_normlab_added_are_kept() -> None:
    later = b'{"version": 1, "run_id": "a", "status": "finished", "energy": [1.5]}'
    assert json.loads(text_of(parse_summary(later)))["energy"] == [1.5]


def test_figures_of_a_later_version_are_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    folder = shutil.copytree(OLD_RUN, tmp_path / "experiment" / OLD_RUN.name)
    content = json.loads((folder / "summary.json").read_text())
    later = {**content, "version": SUMMARY_VERSION + 1}
    (folder / "summary.json").write_text(json.dumps(later))
    words = f"is of version {SUMMARY_VERSION + 1}, this normlab reads {SUMMARY_VERSION}"
    with pytest.raises(ValueError, match=words):
        parse_summary((folder / "summary.json").read_bytes())
    with pytest.raises(RecordError, match=words) as caught:
        read_run(folder)
    assert "--force" not in str(caught.value)  # which would lose it
    assert is_final(folder)  # and a sweep makes it no second time
    frame, problems = read_results([tmp_path])
    assert frame.empty
    assert words in problems[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is damaged (EOF"),
        (b"{", "is damaged (EOF"),
        (b"\xff\xfe\x00", "is damaged ("),
        (b"[" * 100_000, "is damaged (recursion limit"),
        (b"[1, 2]", "is not normlab's"),
        (b"null", "is not normlab's"),
        (b'{"status": "finished"}', "is not normlab's"),
        (b'{"run_id": "a", "status": "ok"}', "is not normlab's"),
        (b'{"run_id": "a", "status": "running"}', "is not normlab's"),
        (b'{"run_id": 1, "status": "finished"}', "is not normlab's"),
        (b'{"run_id": "a", "status": "failed", "steps": true}', "its steps is not a number"),
        (b'{"run_id": "a", "status": "failed", "seconds": "1"}', "its seconds is not a number"),
        (b'{"run_id": "a", "status": "failed", "config": 3}', "its config has no seed"),
    ],
)
def test_what_is_no_summary_is_refused_in_a_line(tmp_path: Path, text: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=r"^summary\.json is ") as caught:
        parse_summary(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    (tmp_path / "summary.json").write_bytes(text)
    kept = read_summary(tmp_path)
    # What is to be made again is decided by id and status alone.
    assert kept is None or (kept.run_id, kept.status) == ("a", "failed")


@pytest.mark.parametrize(
    "odd",
    [
        *({"steps": 330.0}, {"parameters": 1000.0}, {"try": None}, {"reason": None}),
        *({"name": None}, {"version": "2"}, {"train_acc": "x"}, {"config": 3}),
    ],
)
def test_one_odd_key_does_not_make_a_finished_run_unfinished(
    tmp_path: Path, odd: dict[str, object]
) -> None:
    values = json.loads((OLD_RUN / "summary.json").read_text(encoding="utf-8"))
    (tmp_path / "summary.json").write_text(json.dumps(values | odd), encoding="utf-8")
    assert is_final(tmp_path)
    kept = read_summary(tmp_path)
    assert kept is not None
    assert kept.test_acc == values["test_acc"]


def test_an_outcome_says_what_the_summary_says() -> None:
    summary = Summary(run_id="a", status="finished", verdict="trains", reason="It trains.")
    outcome = Outcome.from_summary(summary, seconds=2.0, note="Started over.")
    assert outcome == Outcome("a", "finished", "Started over. It trains.", "trains", 2.0)
    assert Outcome.from_summary(summary).reason == "It trains."


# ---------------------------------------------- what the version before summaries were typed wrote


def test_an_old_run_is_read() -> None:
    run = read_run(OLD_RUN)
    assert (run.summary.status, run.summary.verdict) == ("finished", "undertrained")
    assert run.summary.advice == ("model.residual=true", "training.epochs=80")
    assert run.summary.train_acc == run.metrics["train_acc"].iloc[-1]


@pytest.mark.parametrize("key", ["try", "config", "sample_cosine_end", "gradient_factor_theory"])
def test_an_older_summary_without_a_key_is_read(key: str) -> None:
    content = json.loads((OLD_RUN / "summary.json").read_text())
    del content[key]
    assert parse_summary(json.dumps(content).encode()).run_id == OLD_RUN.name
