"""Run folders as normlab writes them, with figures of a test's own, and claims judged by them."""

import contextlib
import math

from pandas import DataFrame

from normlab.claims import CLAIMS, Evidence, judge_runs
from normlab.claims.planning import claim_grids
from normlab.config import compose_grids, run_id
from normlab.runs import run_folder, to_json
from normlab.training import LAYER_COLUMNS, METRIC_COLUMNS


def write_run(config, figures):
    """A run's folder as normlab writes it, with figures of our own."""
    folder = run_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"name": "layer", "kind": "linear"}
    for name, columns in (("metrics", METRIC_COLUMNS), ("layers", LAYER_COLUMNS)):
        if name in figures:
            table = DataFrame(figures[name])
            lacking = {c: texts.get(c, math.nan) for c in columns if c not in table}
            table.assign(**lacking).to_parquet(folder / f"{name}.parquet")
    scores = {key: value for key, value in figures.items() if key not in ("metrics", "layers")}
    summary = {
        "run_id": run_id(config),
        "name": "doctored",
        "status": "finished",
        "verdict": "trains",
        "reason": "",
        "seconds": 1.0,
        "steps": 1,
        **scores,
        "config": config.model_dump(mode="json"),
    }
    (folder / "summary.json").write_text(to_json(summary))


_configs = {}


def configs_of(claim, scale, root):
    """A claim's real runs of three seeds, in the results folder of this test; composed once."""
    if (claim.id, scale) not in _configs:
        every = compose_grids(claim_grids(claim, scale))
        _configs[claim.id, scale] = [config for config in every if config.seed < 3]
    return [
        config.model_copy(update={"output": config.output.model_copy(update={"root": str(root)})})
        for config in _configs[claim.id, scale]
    ]


def doctored(name, figures, root, scale="small"):
    """The verdict of a claim whose runs have the figures that `figures(config)` says."""
    claim = CLAIMS[name]
    configs = configs_of(claim, scale, root)
    for config in configs:
        write_run(config, figures(config))
    return judge_runs(claim, scale, configs)


def deltas(*mean_delta):
    """layers.parquet of a snapshot at step 0, the output layer last."""
    return [
        {"step": 0, "layer": i, "name": f"hidden{i}", "kind": "linear", "mean_delta": value}
        for i, value in enumerate([*mean_delta, 1.0], start=1)
    ]


def nielsen(**ratios):
    """Runs whose last hidden layer has so many times the first one's mean δ, by depth."""

    def figures(config):
        hidden = config.model.depth - 1
        ratio = ratios.get(f"h{hidden}", {2: 4.7, 3: 24, 4: 100}[hidden])
        return {"layers": deltas(0.01, *[0.02] * (hidden - 2), 0.01 * ratio)}

    return figures


def nielsen_training(ratios):
    """C06 at the paper's scale: last over first hidden layer's mean δ by epoch."""

    def figures(config):
        hidden = config.model.depth - 1
        rows = [
            row | {"step": step}
            for step, ratio in ratios.items()
            for row in deltas(0.01, *[0.02] * (hidden - 2), 0.01 * ratio)
        ]
        return {"layers": rows, "train_acc": 0.9}

    return figures


def at_init(**factors):
    """C08: R by variant."""
    usual = {"none": 1e-12, "bn": 0.7, "skip": 3.0, "ln": 1e-8} | factors

    def figures(config):
        ratio = usual["skip" if config.model.residual else config.norm.name]
        return {"gradient_ratio_init": ratio, "sample_cosine_init": 0.999}

    return figures


def factor_by_init(he=1.0, lecun=0.7071):
    def figures(config):
        return {"gradient_factor_init": he if config.model.init == "he_normal" else lecun}

    return figures


def factor_by_batch(**squared):
    usual = {"b8": 1.79, "b32": 1.52, "b128": 1.465, "b512": 1.458} | squared

    def figures(config):
        return {"gradient_factor_init": math.sqrt(usual[f"b{config.probes.batch_size}"])}

    return figures


def factor_by_chi(**shares):
    """C11: the squared factor as a share of χ₁, whose values are science's."""
    chi_1 = {(1.32665, 0.223607): 1.0, (1.224745, 0.223607): 0.939}
    chi_1 |= {(2.0, 0.223607): 1.342, (2.0, 0.0): 1.363}

    def figures(config):
        point = (config.model.init_gain, config.model.bias_std)
        name = f"g{point[0]:.4g}b{bool(point[1]):d}".replace(".", "_")
        return {"gradient_factor_init": math.sqrt(chi_1[point] * shares.get(name, 1.0))}

    return figures


def curves(bn=(0.1, 0.81, 0.85, 0.91), none=(0.1, 0.5, 0.8, 0.89, 0.9)):
    """C12: test accuracy at steps 0, 100, 200 and so on."""

    def figures(config):
        curve = bn if config.norm.name == "bn" else none
        rows = [{"step": 100 * i, "test_acc": accuracy} for i, accuracy in enumerate(curve)]
        return {"metrics": rows, "test_acc": curve[-1]}

    return figures


def usable(bn, none):
    """C13: learns up to these rates, and diverges or is dead above."""

    def figures(config):
        most = bn if config.norm.name == "bn" else none
        if config.optimizer.lr <= most:
            return {"train_acc": 0.9}
        diverges = config.optimizer.lr > 2 * most
        return {"status": "diverged", "train_acc": 0.9} if diverges else {"train_acc": 0.1}

    return figures


def oddly(usual, odd, seed=2):
    """One seed's figures are others."""
    return lambda config: (odd if config.seed == seed else usual)(config)


def degradation(
    p20=0.013, p56=0.2, r20=0.007, r56=0.001, init=1.0, epoch=1.0, cosine=0.5, odd=None, r110=0.001
):
    """C14, C15, C17: train errors by depth and form; `odd` is the shallow error of seed 2.

    R is `init` at step 0, 1 at the end of the first epoch, and `epoch` later.
    """

    def figures(config):
        deep, skip = config.model.depth == 56, config.model.residual
        error = (r56 if deep else r20) if skip else (p56 if deep else p20)
        if config.model.depth == 110:
            error = r110
        if odd is not None and config.seed == 2 and not deep and not skip:
            error = odd
        return {
            "train_acc": 1 - error,
            "gradient_ratio_init": init,
            "sample_cosine_first_epoch": cosine,
            "layers": [
                {"step": step, "layer": layer, "delta_rms": delta}
                for step, ratio in ((0, init), (11, 1.0), (390, 1.0), (400, epoch))
                for layer, delta in enumerate((ratio, 1.0, 1.0, 1.0), start=1)
            ],
        }

    return figures


def small_batch(**rises):
    """C18: by how much the test error rises from B = 32 to 4, by norm."""
    usual = {"bn": 0.11, "gn": 0.0, "ln": 0.002} | rises

    def figures(config):
        rise = usual[config.norm.name] if config.training.batch_size == 4 else 0.0
        return {"test_acc": 0.9 - rise}

    return figures


def evidence(**columns):
    """Five runs of two norms, of which one lacks a seed."""
    usual = {
        "seed": [0, 1, 2, 0, 1],
        "norm": ["bn", "bn", "bn", "ln", "ln"],
        "status": ["finished"] * 5,
        "train_acc": [0.9, 0.8, 0.7, 0.5, 0.6],
        "gradient_ratio_init": [1.0, 2.0, 4.0, 8.0, 16.0],
    }
    return Evidence(DataFrame(usual | columns))


# A claim of a person's own, in the short form.
MINE = """
statement: LayerNorm trains this net as well as BatchNorm.
experiment: [model=mlp, "norm=bn,ln", "seed=range(3)"]
metric: train_acc("norm=bn") - train_acc("norm=ln")
gate: [-0.02, 0.02]
"""


@contextlib.contextmanager
def replaced(registry, name, part):
    """Another part under a name for a while."""
    usual = registry[name]
    registry.remove(name)
    registry.add(name, part)
    try:
        yield
    finally:
        registry.remove(name)
        registry.add(name, usual)


def warmed_up(*, post=0.12, warmed=0.85, pre=0.96):
    """Train accuracy of encoders by placement and warm-up."""

    def figures(config):
        if config.model.placement == "pre":
            return {"train_acc": pre}
        return {"train_acc": warmed if config.schedule.warmup_steps else post}

    return figures
