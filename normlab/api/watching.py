"""`normlab.watch`: anybody's network in anybody's loop, shown as normlab's own runs are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

# Each of these loads what it needs when it is first asked for it.
from normlab import analysis, show, watching
from normlab.api.arguments import named_as_arguments
from normlab.api.one_run import Diagnosis
from normlab.api.places import Place
from normlab.api.shown import Shown
from normlab.errors import ConfigError

if TYPE_CHECKING:
    from altair import Chart
    from pandas import DataFrame
    from rich.console import RenderableType
    from torch import Tensor
    from torch.nn import Module


@dataclass(frozen=True, repr=False)
class LayerTable(Shown):
    """A network's layers from the input, each probe as it was measured first or last."""

    layers: "DataFrame"

    def _drawn(self, width: int) -> "RenderableType":
        return show.layer_table(self.layers, width) or "nothing is measured yet"


class Watch(watching.Watch, Shown):
    """Follows a network's training in whatever loop makes it, from its making to `close`.

    A failure within it is a `WatchWarning` and ends the watch, not the training.
    """

    def table(self) -> LayerTable:
        """The layers with what was measured of each, first and last."""
        return LayerTable(self.frame())

    def diagnosis(self) -> Diagnosis:
        """What became of the network so far, and why."""
        s = self.as_run().summary
        return Diagnosis(s.status, s.verdict, s.cause, s.evidence, s.advice, s.reason)

    @named_as_arguments
    def plot(
        self,
        picture: str = "gradients",
        *,
        probe: str | None = None,
        metric: str | None = None,
        title: str | None = None,
        size: tuple[int, int] | None = None,
    ) -> "Chart":
        """The picture that `normlab plot` draws of its folder, as an Altair chart.

        Some pictures take a probe or a metric. `size` is the width and height of the whole in
        pixels. Raises ConfigError where there is nothing to draw.
        """
        run = self.as_run()
        if run.layers.empty:
            raise ConfigError("plot: nothing is measured yet, as no optimizer has stepped")
        takes = show.PICTURES[picture].takes
        if takes and takes.option == "probe" and probe is None and not self.probed:
            probe = "grad_norm"  # all that is measured without a probe batch
        so_far = run.summary.model_copy(update={"status": "finished"})
        frame = analysis.to_frame([(run.folder, so_far)])
        return show.chart(
            picture, frame, show.PictureOptions(probe, metric, title=title, size=size)
        )

    def __repr__(self) -> str:
        return f"<Watch {type(self.model).__name__}: {len(self.weights)} weights, step {self.step}>"

    def _drawn(self, width: int) -> "RenderableType":
        return show.run_card(self.as_run(), width)


def watch(
    model: "Module",
    *,
    probe: "tuple[Any, Any, Callable[[Any, Any], Tensor]] | None" = None,
    measure: Sequence[str] = (),
    every: int = 1,
    select: str | Sequence[str] | None = None,
    out: Place | None = None,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Watch:
    """Follow a network's training in one's own loop: gradients of every layer as the optimizer used
    them, and what the layers do with a probe batch.

    `probe` is (x, y, loss_fn): a batch, its targets, and a function of the network's output and the
    targets; at log-spaced steps it is looked at, which leaves no trace. Without it only gradients
    and updates are measured. `measure` names what is measured of the probe batch besides the usual,
    such as "effective_rank" (`normlab explain measurements`). `every` so many steps norms are kept;
    `select` keeps weights whose name fits a pattern such as `blocks.*`. `out` is a folder that
    `normlab show`, `compare`, `plot` and `report` take; `settings`, such as `{"norm": "bn", "seed":
    3}`, are its keys there, and `overwrite` loses the run that it holds. Raises ConfigError,
    RecordError.
    """
    return Watch(
        model,
        probe=probe,
        measure=measure,
        every=every,
        select=select,
        out=out,
        settings=settings,
        overwrite=overwrite,
    )
