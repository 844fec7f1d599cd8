"""Two processes that train together, over gloo: what they measure is what one alone would."""

import warnings
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
import torch.distributed as processes
from torch import nn
from torch.optim import SGD

from normlab.errors import ConfigError
from normlab.watching import Watch
from tests.watching.nets import F, drawn
from tests.watching.oracle import seeded

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not processes.is_available(), reason="this PyTorch has no processes"),
]

STEPS = 7
X, Y = drawn(8, 5).double(), torch.arange(8) % 4


def _net() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 15), nn.LayerNorm(15), nn.Tanh()),
        nn.Linear(15, 4),  # of which two processes have parts of unlike size
    )


def net() -> Any:
    """A network in float64."""
    return seeded(_net)().double()


def _alone(model: nn.Module) -> nn.Module:
    return model


def _replicated(model: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(model)


def _divided(model: Any) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def trained(wrap: Any, watched: bool, part: slice, out: Path) -> tuple[Watch | None, nn.Module]:
    model = wrap(net())
    watch = Watch(model, probe=(X, Y, F.cross_entropy), out=out) if watched else None
    optimizer = SGD(model.parameters(), 0.1)
    for step in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model(X[part] * (1 + step)), Y[part]).backward()
        optimizer.step()
    if watch:
        watch.close()
    return watch, model


def weights_of(model: nn.Module) -> list[Any]:
    return [
        (p.full_tensor() if hasattr(p, "full_tensor") else p).detach().tolist()
        for p in model.parameters()
    ]


def _process(rank: int, folder: Path, work: Any) -> None:
    warnings.simplefilter("error")
    for category in (FutureWarning, DeprecationWarning):  # PyTorch's own
        warnings.filterwarnings("ignore", category=category)
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    processes.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    try:
        work(rank, folder)
    finally:
        processes.destroy_process_group()


def in_two(work: Any, folder: Path) -> None:
    """Run a function of rank and folder in two processes; an error in one is raised here."""
    torch.multiprocessing.spawn(_process, (folder, work), nprocs=2)  # type: ignore[no-untyped-call]


def _measure(rank: int, folder: Path) -> None:
    for wrap in (_replicated, _divided):
        out = folder / wrap.__name__
        part = slice(rank, None, 2)
        watch, model = trained(wrap, True, part, out)
        assert watch is not None
        watch.frame().to_parquet(folder / f"{wrap.__name__}{rank}.parquet")
        assert (watch.folder is None) == (rank > 0)
        _, without = trained(wrap, False, part, out)
        assert weights_of(model) == weights_of(without)


def test_processes_measure_what_one_alone_does(tmp_path: Path) -> None:
    in_two(_measure, tmp_path)
    watch, _ = trained(_alone, True, slice(None), tmp_path / "alone")
    assert watch is not None
    wanted = watch.frame()
    for wrap in ("_replicated", "_divided"):
        for rank in range(2):
            found = pandas.read_parquet(tmp_path / f"{wrap}{rank}.parquet")
            pandas.testing.assert_frame_equal(found, wanted, rtol=1e-10, atol=1e-12)
        assert (tmp_path / wrap / "summary.json").exists()


def _refuse(_rank: int, _folder: Path) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    for original in (False, True):
        model = FullyShardedDataParallel(
            net(), device_id=torch.device("cpu"), use_orig_params=original
        )
        with pytest.raises(ConfigError, match="model: FullyShardedDataParallel holds many") as e:
            Watch(model)
        assert "\n" not in str(e.value)


def test_flat_parameters_are_refused(tmp_path: Path) -> None:
    in_two(_refuse, tmp_path)


def _refuse_zero(_rank: int, _folder: Path) -> None:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    ends = []
    for watched in (False, True):
        model = nn.parallel.DistributedDataParallel(net())
        watch = Watch(model) if watched else None
        optimizer = ZeroRedundancyOptimizer(model.parameters(), SGD, lr=0.1)
        with warnings.catch_warnings(record=True) as recorded:
            warnings.simplefilter("always")
            for _ in range(STEPS):
                optimizer.zero_grad()
                F.cross_entropy(model(X), Y).backward()
                optimizer.step()
            if watch:
                watch.close()
        lines = [str(w.message) for w in recorded if "normlab" in str(w.message)]
        assert len(lines) == watched
        assert all("ZeroRedundancyOptimizer: each process steps a part" in line for line in lines)
        ends.append(weights_of(model))
    assert ends[0] == ends[1]


def test_zero_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch.distributed.rpc")
    in_two(_refuse_zero, tmp_path)
