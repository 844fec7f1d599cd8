"""A Lightning callback for what a watch cannot hear of: gradients before Lightning clips them."""

from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

if TYPE_CHECKING:
    from normlab.watching.watch import Watch


class UnclippedNorms(Callback):
    """Keeps `grad_norm_unclipped` of every step of a `Trainer` that clips: the norms before it.

    Everything else a watch hears of without a callback, `grad_norm` after clipping among it. The
    CPU waits for a GPU at every step.
    """

    def __init__(self, watch: "Watch"):
        super().__init__()
        self.watch = watch

    def on_before_optimizer_step(self, *_: Any) -> None:
        """Lightning calls it when a step's gradients are whole, and clips them afterwards."""
        self.watch.record_unclipped()
