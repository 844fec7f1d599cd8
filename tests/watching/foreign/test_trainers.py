"""Other people's trainers: a watch tells what their optimizers have used."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from normlab.watching import Watch
from tests.watching.checks import RATE, Used, equal_used
from tests.watching.foreign.importing import WARNINGS, import_or_skip
from tests.watching.nets import F, drawn, labels, mlp
from tests.watching.oracle import seeded

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(*WARNINGS)]

STEPS = 7


class Noted(torch.optim.SGD):
    """SGD that notes what it has used; `used` is given afterwards."""

    used: Used

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        self.used.stepped()
        return loss


@pytest.mark.parametrize("clip", [None, 0.01])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_lightning(clip: float | None, accumulate: int, precision: str, tmp_path: Path) -> None:
    """Its optimizers take a closure, before which the gradients are the last step's."""
    lightning = import_or_skip("lightning.pytorch")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = seeded(mlp)()

        def training_step(self, batch: Any, _index: int) -> Tensor:
            loss: Tensor = F.cross_entropy(self.net(batch[0]), batch[1])
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = Noted(self.net.parameters(), RATE)
            optimizer.used = used
            return optimizer

    module = Module()
    used = Used(module.net)
    data = TensorDataset(drawn(60, 5), torch.arange(60) % 4)
    trainer = lightning.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        precision=precision,
        gradient_clip_val=clip,
        accumulate_grad_batches=accumulate,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    with Watch(module.net, probe=(drawn(6, 5), labels(), F.cross_entropy)) as watch:
        trainer.fit(module, DataLoader(data, batch_size=4))
    equal_used(watch, used, rel=1e-3)
    norms = watch.frame().groupby("step")["grad_norm"].apply(lambda n: n.pow(2).sum() ** 0.5)
    assert (norms.iloc[:-1] > 0).all()
    assert clip is None or (norms < clip * 1.001).all()


@pytest.mark.parametrize("clip", [0.0, 0.01])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_hugging_faces_trainer(clip: float, accumulate: int, tmp_path: Path) -> None:
    """It clips before its callback, with a norm of its own; 0 clips nothing."""
    transformers = import_or_skip("transformers")
    import_or_skip("accelerate")

    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = seeded(mlp)()

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            output = self.net(x)
            return {"loss": F.cross_entropy(output, labels), "logits": output}

    module = Module()
    optimizer = Noted(module.parameters(), RATE)
    optimizer.used = Used(module)
    data = [{"x": x, "labels": i % 4} for i, x in enumerate(drawn(64, 5))]
    trainer = transformers.Trainer(
        model=module,
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=STEPS,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=accumulate,
            max_grad_norm=clip,
            lr_scheduler_type="constant",
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=data,
        optimizers=(optimizer, None),
    )
    probe = ({"x": drawn(6, 5), "labels": labels()}, None, lambda output, _: output["loss"])
    with Watch(module, probe=probe) as watch:
        trainer.train()
    equal_used(watch, optimizer.used, rel=1e-3)
    norms = watch.frame().groupby("step")["grad_norm"].apply(lambda n: n.pow(2).sum() ** 0.5)
    assert (norms.iloc[:-1] > 0).all()
    assert not clip or (norms < clip * 1.001).all()
