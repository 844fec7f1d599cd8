"""Interfaces of other packages that these call private: each is used in one place, and where it
goes with a new version, its test says what to do."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from normlab.watching.untouched import in_backward

SOURCE = Path(__file__).parents[1] / "normlab"
USED = {
    ("ray._private.worker._worker_logs_enabled", "runs/launchers/ray.py"),
    ("ray._private", "runs/launchers/ray.py"),
    ("torch._foreach_norm", "measurement/steps.py"),
    ("torch._C._current_graph_task_id", "watching/untouched.py"),
    ("torch._C", "watching/untouched.py"),
}
# With a test of its own, in tests/data.
TESTED_ELSEWHERE = {("pickle._Unpickler", "data/pickles.py")}
NAMED_TUPLES = ("_asdict", "_fields", "_replace")  # public, so named that no field is
OWN = ("self", "super()", "cls", "copy", "_Line", "line", "other")


def private_names() -> Iterator[tuple[str, str]]:
    """Attributes with an underscore that are not of the object itself, and their file."""
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr[0] == "_" and node.attr[:2] != "__":
                owner = ast.unparse(node.value)
                if owner not in OWN and node.attr not in NAMED_TUPLES:
                    yield f"{owner}.{node.attr}", str(file.relative_to(SOURCE))


def test_no_other_private_name_is_used() -> None:
    assert set(private_names()) - TESTED_ELSEWHERE == USED


def test_the_fused_updates_take_what_they_are_given() -> None:
    """That their numbers are those of PyTorch's classes is tests/training/test_optimizers.py's."""
    for function, given in (
        (sgd, "weight_decay momentum lr dampening nesterov maximize foreach fused"),
        (adam, "amsgrad beta1 beta2 lr weight_decay eps maximize foreach fused"),
        (adam, "decoupled_weight_decay"),
    ):
        parameters = inspect.signature(function).parameters
        assert set(given.split()) <= set(parameters), (
            f"{function.__module__}.{function.__name__} has changed: adapt `update` of SGD or Adam "
            "in normlab/training/optimizers.py. Where it is gone, step with torch.optim.SGD, Adam "
            "and AdamW (fused=True) over each group, kept beside its parameters; importing them "
            "costs a second at every start, and checkpoints then keep their state_dict()."
        )


def test_a_backward_pass_is_known_from_within() -> None:
    seen: list[bool] = []
    x = torch.ones(1, requires_grad=True)
    x.register_hook(lambda _: seen.append(in_backward()))  # type: ignore[no-untyped-call]
    x.sum().backward()  # type: ignore[no-untyped-call]
    assert (in_backward(), seen) == (False, [True]), (
        "torch._C._current_graph_task_id has changed: in in_backward of normlab/watching/"
        "untouched.py look for another sign of a backward pass, such as a node's own hook"
    )


def test_norms_of_many_tensors_are_those_of_each() -> None:
    tensors = [torch.tensor([[3e30, 4e30]]), torch.tensor([1e-30]), torch.zeros(2, 2)]
    public = torch.stack([torch.linalg.vector_norm(t, dtype=torch.float64) for t in tensors])
    assert hasattr(torch, "_foreach_norm"), (
        "torch._foreach_norm is gone: in gradient_norms of normlab/measurement/steps.py stack "
        "torch.linalg.vector_norm(gradient, dtype=float64) of each layer, a kernel a layer and step"
    )
    together = torch.stack(torch._foreach_norm(tensors, 2, dtype=torch.float64))
    assert torch.allclose(together, public, rtol=1e-12, atol=0)
