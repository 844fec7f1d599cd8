"""Many runs: chosen, as frames, compared, drawn and shown."""

from pathlib import Path

import altair
import pytest

import normlab
from normlab import api
from normlab.analysis import read_results
from normlab.errors import ConfigError, RecordError
from normlab.show import ComparisonOptions, PictureOptions, comparison, draw
from tests.show.terminal.printing import text_of
from tests.tools.synthetic_results import write_runs


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "results"
    write_runs(24, folder, with_tables=True)
    (folder / "synthetic" / "broken").mkdir()
    (folder / "synthetic" / "broken" / "summary.json").touch()
    return folder


@pytest.fixture
def runs(root: Path) -> normlab.Results:
    return normlab.results(root)


def test_runs_are_given_one_by_one(runs: normlab.Results) -> None:
    assert len(runs) == len(runs.frame) == 24
    assert [run.id for run in runs] == list(runs.frame["run_id"])
    assert runs[3].summary.run_id == runs.frame["run_id"].iloc[3]
    assert runs[-1].id == runs[runs[-1].id[:8]].id
    assert [run.id for run in runs[2:4]] == [runs[2].id, runs[3].id]
    with pytest.raises(IndexError):
        runs[24]
    with pytest.raises(RecordError, match="nowhere: no such run here"):
        runs["nowhere"]
    with pytest.raises(RecordError, match="24 runs begin so"):
        runs[""]


def test_runs_are_printed_in_the_order_that_they_are_indexed_in(runs: normlab.Results) -> None:
    for some in (runs, runs[5:], runs.where("norm=bn")):
        ids = [run.id for run in some]
        words = str(some).split()
        assert [word for word in words if word in ids] == ids[:10]


def test_a_run_whose_files_are_not_whole_costs_none_of_the_others(tmp_path: Path) -> None:
    write_runs(2, tmp_path / "results")  # without tables
    runs = normlab.results(tmp_path / "results")
    assert len(repr(list(runs)).split(",")) > 2
    with pytest.raises(RecordError, match="is missing"):
        _ = runs[0].metrics
    with pytest.warns(UserWarning, match="2 runs left out: .*layers.parquet"):
        assert list(runs.layers().columns[:2]) == ["run_id", "experiment"]


def test_runs_are_chosen_by_what_they_are(runs: normlab.Results, root: Path) -> None:
    chosen = runs.where("norm=bn", "model.depth>=20")
    assert set(chosen.frame["norm"]) == {"bn"}
    assert chosen.frame["model.depth"].min() >= 20
    assert chosen.expressions == ("norm=bn", "model.depth>=20")
    assert len(normlab.results(root, where="norm=bn,ln")) == len(runs.where("norm=bn,ln"))
    with pytest.raises(ConfigError, match=r"^where 'norm=gn': no run has it"):
        runs.where("norm=gn")
    with pytest.raises(RecordError, match="nowhere"):
        normlab.results("nowhere")


def test_tables_of_all_runs_say_which_run_a_row_is_of(runs: normlab.Results) -> None:
    layers, metrics = runs.layers(), runs.metrics()
    for table, part in ((layers, "layers"), (metrics, "metrics")):
        assert set(table["run_id"]) == set(runs.frame["run_id"])
        assert {"norm", "model.depth", "seed"} <= set(table)
        first = table[table["run_id"] == runs[0].id].reset_index(drop=True)
        own = getattr(runs[0], part)
        assert first["step"].tolist() == own["step"].tolist()


def test_a_comparison_has_the_figures_of_the_command(runs: normlab.Results, root: Path) -> None:
    compared = runs.compare("norm", "model.depth", "train_acc,gradient_ratio_end")
    options = ComparisonOptions(["norm"], ["model.depth"], ["train_acc", "gradient_ratio_end"])
    frame, _ = read_results([root])
    assert text_of(compared, 100) == text_of(comparison(frame, options), 100)
    for form in ("md", "latex", "csv", "json"):
        assert compared.to(form) == comparison(frame, options, form)
    assert compared.to("latex", caption="Mine").count("Mine") == 1
    with pytest.raises(ConfigError, match=r"^caption: format md has none; choices: latex"):
        compared.to("md", caption="Mine")
    with pytest.raises(ConfigError, match="nowhere: no such key"):
        runs.compare("nowhere")
    listed = runs.compare(["norm"], ["model.depth"], ["train_acc", "gradient_ratio_end"])
    assert listed.frame.equals(compared.frame)
    assert any("24 runs" in note for note in compared.notes)


def test_a_comparison_is_a_table_in_a_notebook(runs: normlab.Results) -> None:
    compared = runs.compare("norm", "model.depth")
    page = compared._repr_html_()
    layout = text_of(compared, 200)
    cells = [text for text in layout.split("   ") if text.strip()]
    assert page.count("<tr>") == compared.frame["norm"].nunique() + 1
    assert all(cell.strip() in page for cell in cells[:4])
    assert repr(compared) == f"<Comparison of train_acc: {len(compared.frame)} rows>"


def test_differences_are_paired(runs: normlab.Results) -> None:
    paired = runs.paired("norm=none", metric="test_acc")
    assert {"mean", "low", "high", "n", "p"} <= set(paired.frame)
    assert set(paired.frame["baseline"]) == {"norm=none"}
    assert "95% interval" in paired._repr_html_()
    with pytest.raises(ConfigError, match="must be KEY=VALUE"):
        runs.paired("none")


def test_no_run_has_no_comparison(runs: normlab.Results) -> None:
    none = runs.where("status=failed")
    assert len(none) == 0
    assert none.findings() == []
    assert str(none).splitlines()[0] == "no runs"
    assert repr(none) == "<Results: no runs>"
    with pytest.raises(ConfigError, match="there is no run to compare"):
        none.compare()


def test_a_chart_is_that_of_the_command(runs: normlab.Results, tmp_path: Path) -> None:
    chart = runs.plot("depth", metric="train_acc", x="optimizer.lr", size=(600, 400))
    chart.save(tmp_path / "mine.svg")
    options = PictureOptions(metric="train_acc", x="optimizer.lr", size=(600, 400))
    draw("depth", runs.frame, options, tmp_path / "theirs.svg")
    mine, theirs = ((tmp_path / f"{name}.svg").read_text() for name in ("mine", "theirs"))
    assert mine.count("<path") >= theirs.count("<path") > 0
    assert mine.split(">")[0] == theirs.split(">")[0]  # their size
    assert isinstance(runs.plot("phase", "model.depth", "optimizer.lr"), altair.TopLevelMixin)
    with pytest.raises(ConfigError, match="no such choice; choices: gradients"):
        runs.plot("depht")
    with pytest.raises(ConfigError, match="takes no key"):
        runs.plot("depth", "model.depth")


def test_a_chart_holds_any_number_of_rows(runs: normlab.Results) -> None:
    """Altair refuses more than 5000 that it is to make a specification of."""
    chart = runs.plot("gradients")
    with altair.data_transformers.enable("default", max_rows=1):
        assert chart.to_dict()["datasets"]


def test_a_report_and_what_is_no_run(runs: normlab.Results, tmp_path: Path) -> None:
    page = runs.where("norm=bn").report(tmp_path / "report.html")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [problem.split(":")[0].rpartition("/")[2] for problem in runs.problems] == ["broken"]
    assert "1 folder left out as no sound run; .problems names them" in str(runs)
    assert "and 14 more; .frame has all" in runs._repr_html_()


def test_the_runs_of_a_plan_that_have_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(api.results_of(api.plan("seed=1,2"))) == 0
