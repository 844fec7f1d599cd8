import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.config import compose
from normlab.networks import weight_layers
from normlab.training import evaluate, evaluation
from normlab.training.step import build_network
from tests.conftest import TINY
from tests.training.small_trainings import CPU, TINY_CNN, evaluations, events_of, measured


def test_evaluation_is_in_eval_mode_on_the_whole_sets() -> None:
    config = compose([*TINY_CNN, "data.train_size=1203", "training.steps=3"])
    events, ended = events_of(config)
    dataset = config.data.load(CPU)
    ended.model.eval()
    with torch.no_grad():
        logits = ended.model(dataset.train_images)
    loss = F.cross_entropy(logits, dataset.train_labels).item()
    accuracy = (logits.argmax(1) == dataset.train_labels).double().mean().item()
    last = evaluations(events)[-1]
    assert last["train_loss"] == pytest.approx(loss, rel=1e-5)
    assert last["train_acc"] == pytest.approx(accuracy, rel=1e-6)


def test_rows_are_about_the_weights_after_their_step() -> None:
    """The last row's scores and snapshot are those of the returned model."""
    config = compose(TINY_CNN)
    events, ended = events_of(config)
    dataset = config.data.load(CPU)
    last = evaluations(events)[-1]
    assert last["step"] == ended.step == 8
    scores = evaluate(ended.model, dataset, config.training)._asdict()
    assert scores == {key: last[key] for key in scores}
    norms = [layer.module.weight.double().norm().item() for layer in weight_layers(ended.model)]
    assert measured(events, "weight_norm")[8] == pytest.approx(norms, rel=1e-12)
    assert 8 not in measured(events, "grad_norm")  # no training step starts from there


def test_sigmoid_loss_is_trained_and_reported() -> None:
    """Its value at logits of 0 is K·log 2, where softmax has log K."""
    config = compose(
        [
            *(*TINY, "training.steps=0", "training.loss=sigmoid"),
            *("model.init=normal", "model.init_std=0"),
        ]
    )
    events, _ = events_of(config)
    row = evaluations(events)[0]
    assert row["train_loss"] == pytest.approx(10 * math.log(2), rel=1e-6)


def test_a_bf16_training_is_evaluated_in_bf16() -> None:
    """As it is used: the logits are those of bfloat16 products, the loss is taken in float32."""
    config = compose([*TINY_CNN, "training.steps=3", "training.precision=bf16"])
    _, ended = events_of(config)
    dataset = config.data.load(CPU)
    found = evaluate(ended.model, dataset, config.training)
    losses = {}
    ended.model.eval()
    for precision in (torch.bfloat16, torch.float32):
        with torch.no_grad(), torch.autocast("cpu", precision, precision == torch.bfloat16):
            logits = ended.model(dataset.test_images).float()
        losses[precision] = F.cross_entropy(logits, dataset.test_labels).item()
    assert abs(losses[torch.bfloat16] - losses[torch.float32]) > 1e-4
    assert found.test_loss == pytest.approx(losses[torch.bfloat16], rel=1e-6)


def test_where_memory_is_short_evaluation_goes_on_in_smaller_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = compose([*TINY_CNN, "data.train_size=1203", "training.steps=1"])
    dataset = config.data.load(CPU)
    model = build_network(config, dataset).model
    whole, sizes = evaluate(model, dataset, config.training), []

    def refuse(_: nn.Module, args: tuple[Tensor]) -> None:
        sizes.append(len(args[0]))
        if len(args[0]) > 600:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = model.register_forward_pre_hook(refuse)
    monkeypatch.setitem(evaluation.EVALUATION_BATCH, "cpu", 100)
    monkeypatch.setattr(evaluation, "_usual_batch", lambda _: 2000)
    assert evaluate(model, dataset, config.training) == pytest.approx(whole, rel=1e-6)
    assert sizes[:3] == [1203, 1000, 500]
    assert model.training
    handle.remove()
    model.register_forward_pre_hook(lambda *_: refuse(model, (torch.zeros(601),)))
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(model, dataset, config.training)
    assert model.training
