"""What a sweep still takes, against a simulated one whose end is known."""

import heapq
import math
from collections.abc import Iterator

import pytest

from normlab.config import Config, compose, run_id
from normlab.runs import Outcome
from normlab.runs.estimates import Remaining, Stage, Work, estimate

DEPTHS = (8, 20, 56, 8, 20, 56, 8, 20, 56)
CONFIGS = [
    compose(["model=cnn", f"model.depth={depth}", f"seed={seed}"])
    for seed, depth in enumerate(DEPTHS)
]


def took(config: Config) -> float:
    """Seconds of a run: as its depth, and another machine's worth of them."""
    return 0.7 * config.model.depth


def simulated(
    workers: int, steps: int = 100
) -> Iterator[tuple[float, list[str], dict[str, Stage]]]:
    """The time, the runs ended by then, and the stages of those at work, every second."""
    free = [0.0] * workers
    spans = {}
    for config in CONFIGS:
        begin = heapq.heappop(free)
        spans[run_id(config)] = begin, begin + took(config)
        heapq.heappush(free, begin + took(config))
    for second in range(1, math.ceil(max(free))):
        ended = [name for name, (_, end) in spans.items() if end <= second]
        stages = {
            name: Stage(int(steps * (second - begin) / (end - begin)), steps)
            for name, (begin, end) in spans.items()
            if begin < second < end
        }
        yield second, ended, stages
    yield max(free), list(spans), {}


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("known", [{}, {Work.of(CONFIGS[0]): 3.0}], ids=["nothing", "another time"])
def test_the_time_left_is_near_from_the_first_seconds_on(
    workers: int, known: dict[Work, float]
) -> None:
    """Runs of unlike length; by mere counting it would be off by more than a factor of 2."""
    moments = list(simulated(workers))
    total = moments[-1][0]
    remaining, done = Remaining(CONFIGS, known), set[str]()
    by_id = {run_id(config): config for config in CONFIGS}
    for now, ended, stages in moments[:-1]:
        for name in set(ended) - done:
            remaining.end(Outcome(name, "finished", seconds=took(by_id[name])))
        done |= set(ended)
        remaining.go_on(stages)
        if now > 5:
            # A step's share of a run, and workers without work at the end.
            slack = (0.03 if workers == 1 else 0.25) * total
            assert abs(remaining.seconds(now) - (total - now)) <= slack, now
    assert 0.9 < remaining.share_done < 1


def test_within_a_run_the_time_left_falls() -> None:
    remaining = Remaining(CONFIGS[:2], {})
    (first, second), left = map(run_id, CONFIGS[:2]), []
    for step in range(10, 100, 10):
        remaining.go_on({first: Stage(step, 100)})
        left.append(remaining.seconds(step / 10))
    # Of depths 8 and 20: 28 parts of work, 0.8 of them a second.
    assert left == pytest.approx([35 - seconds for seconds in range(1, 10)], rel=1e-9)
    assert second not in remaining._stages


def test_a_run_that_goes_on_from_a_checkpoint_was_not_made_in_this_time() -> None:
    remaining = Remaining(CONFIGS[:1], {})
    (name,) = map(run_id, CONFIGS[:1])
    remaining.go_on({name: Stage(60, 100, resumed=50)})
    assert remaining.seconds(1.0) == pytest.approx(4.0)  # 10 steps a second, 40 to make


@pytest.mark.parametrize(
    ("ended", "share", "left"),
    [
        # Depth 8 of depths that are 252 in all.
        (Outcome(run_id(CONFIGS[0]), "failed", seconds=0.01), 8 / 252, 244 / 8),
        (Outcome("of another sweep", "finished", seconds=1e9), 0.0, math.nan),
    ],
)
def test_what_is_no_measure_counts_for_nothing(ended: Outcome, share: float, left: float) -> None:
    remaining = Remaining(CONFIGS, {})
    remaining.end(ended)
    assert remaining.share_done == pytest.approx(share)
    assert remaining.seconds(1.0) == pytest.approx(left, nan_ok=True)


def test_nothing_to_do_is_done() -> None:
    remaining = Remaining([], {})
    assert (remaining.share_done, math.isnan(remaining.seconds(1.0))) == (1.0, True)


def test_an_estimate_is_that_of_the_run_most_alike_scaled() -> None:
    def work(*overrides: str) -> Work:
        return Work.of(compose(["model=mlp", "data.train_size=500", *overrides]))

    known = {work("model.depth=4", "norm=ln"): 2.0, work("model.depth=40", "model.width=99"): 100.0}
    assert estimate(work("model.depth=4", "norm=ln", "seed=9"), known) == 2.0
    assert estimate(work("model.depth=8", "norm=ln"), known) == pytest.approx(4.0)
    assert estimate(work("model.depth=4", "training.epochs=30"), known) == pytest.approx(4.0)
    assert estimate(work("model.depth=4", "data.train_size=1000"), known) == pytest.approx(4.0)
    assert estimate(work("model.depth=10", "model.width=99"), known) == pytest.approx(25.0)
    assert math.isnan(estimate(work(), {}))


def test_an_encoder_takes_as_long_as_it_has_tokens() -> None:
    def work(*overrides: str) -> Work:
        return Work.of(compose(["model=encoder", "norm=ln", *overrides]))

    rows = {work(): 3.0}
    assert estimate(work("model.patch=2"), rows) == pytest.approx(6.0)  # 16 patches, 8 rows
    assert estimate(work("model.patch=2", "model.depth=12"), rows) == pytest.approx(12.0)
    assert estimate(work("model.placement=post", "model.patch=8"), rows) == pytest.approx(3 / 8)
