"""What a person reads at a sweep's end."""

import json
from pathlib import Path
from typing import Any

from normlab.config import Config, compose_grids, grids
from normlab.runs import Plan, Summary, run_folder
from normlab.show import ArmsSoFar, interrupted_report, next_lines, sweep_report
from normlab.show.terminal.sweeps import MOST_ARMS
from tests.conftest import TINY, replacing
from tests.show.terminal.printing import printed


def planned(root: Path, *overrides: str) -> tuple[list[Config], Plan]:
    configs = list(compose_grids(grids(replacing(TINY, f"output.root='{root}'", *overrides))))
    return configs, Plan(tuple(configs), tuple(configs), 0, 0, 0, {})


def end(config: Config, status: str = "finished", **figures: Any) -> None:
    seen = {
        "verdict": "trains",
        "cause": "none",
        "verdict_init": "healthy",
        "verdict_end": "healthy",
    }
    ratios = {"gradient_ratio_init": 0.5, "gradient_ratio_end": 2.0}
    summary = Summary.pending(config, status, **{"train_acc": 1.0, **seen, **ratios, **figures})
    run_folder(config).mkdir(parents=True)
    (run_folder(config) / "summary.json").write_text(json.dumps(summary.to_plain()))


def text_at_end(plan: Plan, width: int = 100) -> str:
    return " ".join(" ".join(printed(sweep_report(plan, width), width)).split())


def test_each_arm_has_a_sentence_and_the_next_commands_are_named(tmp_path: Path) -> None:
    root = tmp_path / "my results"
    configs, plan = planned(root, "norm=none,bn", "model.depth=8,56", "seed=range(2)")
    for config in configs:
        if (config.norm.name, config.model.depth) == ("none", 56):
            gone = {"verdict": "vanishing", "verdict_end": "vanishing"}
            gone |= {"cause": "rate_too_large"}
            end(config, train_acc=0.1, gradient_ratio_end=1e-7, **gone)
        else:
            end(config)
    text = text_at_end(plan)
    assert "ratio init 0.50, 0.50" in text
    assert "ratio end 2.0, 2.0 1.0e-7, 1.0e-7" in text
    assert (
        "no-norm trains at depth 8; at 56 the learning rate is too large, the gradient vanishes in "
        "training (layer 1 gets 1.0e-7 of the last hidden layer's) and train accuracy ends at "
        "10.0%."
    ) in text
    assert "bn trains at every depth (8 and 56)." in text
    assert "not blamed: no-norm at 56 (the learning rate is too large)." in text
    assert "cells by cause: v: 1 rate_too_large" in text
    assert [line.plain for line in next_lines(plan)] == [
        f"files  {root}/runs",
        f"next   normlab plot gradients '{root}/runs'",
        f"       normlab report '{root}/runs'",
    ]


def test_of_many_arms_the_gradients_have_one_sentence(tmp_path: Path) -> None:
    rates = ",".join(f"0.{i}" for i in range(1, MOST_ARMS + 1))
    configs, plan = planned(tmp_path, f"optimizer.lr={rates}")
    for config in configs:
        end(config)
    assert "lr=0.1 trains." in text_at_end(plan)
    more, plan = planned(tmp_path / "more", f"optimizer.lr={rates},0.95")
    for config in more:
        end(config)
    text = text_at_end(plan)
    assert "lr=0.1 trains." not in text
    assert "No gradient vanished or exploded, at init or at the end." in text


def test_of_a_part_there_are_counts_and_no_conclusions(tmp_path: Path) -> None:
    configs, plan = planned(tmp_path, "norm=none,bn", "model.depth=8,56", "seed=range(2)")
    arms = ArmsSoFar(plan)
    assert printed(interrupted_report(plan, arms, 100))[0].startswith("no runs; 8 of 8 not begun")
    end(configs[0])
    end(configs[1], "interrupted", train_acc=0.3, verdict=None)
    arms = ArmsSoFar(Plan(plan.configs, plan.configs[1:], 1, 0, 0, {}))
    lines = [line.rstrip() for line in printed(interrupted_report(plan, arms, 100))]
    assert lines[1].split() == ["no-norm", "1.000", "1/2", "·"]
    assert "2 runs: 1 finished, 1 interrupted (not in the means); 6 of 8 not begun" in lines
    assert "No conclusions are drawn from a part; the same command makes the rest." in lines
    assert not [line for line in lines if "trains" in line or "gradient" in line]
