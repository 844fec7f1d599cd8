"""What runs of one comparison were not all made alike with."""

from normlab.analysis import mixed_origins
from normlab.analysis.frames import to_frame
from normlab.show import ComparisonOptions, comparison
from tests.analysis.sample import row


def test_only_within_a_cell_is_counted_as_there() -> None:
    frame = to_frame(
        [
            row("norm=bn", seed=0, threads=1, torch="2.13.0", device="cuda:0"),
            row("norm=bn", seed=1, threads=2, torch="2.13.0", device="cuda:1"),
            row("norm=ln", seed=0, threads=1, torch="2.14.0", device="cuda:0"),
            row("norm=ln", seed=1, threads=1, torch="2.14.0", device="cuda:1"),
        ]
    )
    assert mixed_origins(frame, ["norm"]) == [
        ("torch", ("2.13.0", "2.14.0"), 0, 2),
        ("threads", ("1", "2"), 1, 2),
    ]
    assert mixed_origins(frame, ["norm", "threads"]) == [
        ("torch", ("2.13.0", "2.14.0"), 0, 3),
        ("threads", ("1", "2"), 0, 3),
    ]


def test_orders_of_memory_are_told() -> None:
    frame = to_frame([row(seed=seed, channels_last=seed > 0) for seed in (0, 1)])
    assert mixed_origins(frame, ["norm"]) == [("channels_last", ("false", "true"), 1, 1)]


def test_kinds_of_devices_are_told_apart() -> None:
    devices = ("cpu", "mps", "cuda:1")
    frame = to_frame([row(seed=seed, device=device) for seed, device in enumerate(devices)])
    assert mixed_origins(frame, ["norm"]) == [("device", ("cpu", "cuda", "mps"), 1, 1)]


def test_data_of_other_content_are_told_within_a_data_set() -> None:
    frame = to_frame(
        [
            row("data=mnist", seed=0, data_sha256="aa"),
            row("data=digits", seed=0, data_sha256="bb"),
            row("data=gaussian", seed=0),
        ]
    )
    assert mixed_origins(frame, ["data"]) == []
    others = [row("data=mnist", "norm=ln", seed=1, data_sha256="cc")]
    runs = [row("data=mnist", seed=0, data_sha256="aa"), row("data=digits", data_sha256="bb")]
    both = to_frame([*runs, *others])
    assert mixed_origins(both, ["data"]) == [("data_sha256", ("aa", "cc"), 1, 2)]
    assert mixed_origins(both, ["data", "norm"]) == [("data_sha256", ("aa", "cc"), 0, 3)]


def test_what_is_not_known_or_no_result_counts_as_nothing() -> None:
    frame = to_frame(
        [
            row(seed=0, processor="A", threads=1, commit="a"),
            row(seed=1, processor=None, threads=1, commit=None),
            row(seed=2, status="failed", processor="B", threads=4, commit="b"),
        ]
    )
    assert mixed_origins(frame, ["norm"]) == []
    assert mixed_origins(frame[frame["status"] == "failed"], ["norm"]) == []


def test_a_comparison_says_so_in_one_line() -> None:
    commits = [row(seed=seed, commit=f"{seed}abc", threads=1 + seed % 2) for seed in range(6)]
    text = comparison(to_frame(commits), ComparisonOptions(), "md")
    note = (
        "made with unlike commit 0abc, 1abc, 2abc, 3abc and 2 more (in 1 of 1 cells); "
        "threads 1, 2 (in 1 of 1 cells): figures may differ by that alone"
    )
    assert isinstance(text, str)
    assert note in text
    heard: list[str] = []
    assert note not in str(
        comparison(to_frame(commits), ComparisonOptions(), "csv", on_caution=heard.append)
    )
    assert heard == [note]
    alike = comparison(to_frame(commits[::2][:1]), ComparisonOptions(), "md")
    assert "made with" not in str(alike)
