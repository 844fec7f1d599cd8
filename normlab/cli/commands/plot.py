"""normlab plot"""

from pathlib import Path
from typing import Annotated

import typer

from normlab import api
from normlab.cli.choices import PictureName
from normlab.cli.completing import complete_curves, complete_probes, complete_runs
from normlab.cli.options import RESULTS, IdRoot, Verbose, Where, examples
from normlab.cli.output import make_console, print_beside, print_problems, reading_bar
from normlab.show import PICTURES

EXAMPLES = examples(
    "normlab plot gradients results/quickstart --where model.depth=56 -o gradients.svg",
    "normlab plot heatmap 1b02 -o heatmap.png",
    "normlab plot curves results/quickstart --metric test_acc",
    "normlab plot depth results/quickstart -o depth.pdf",
    "normlab plot depth --x optimizer.lr --metric test_error --size 800x500 -o rates.svg",
    "normlab plot phase optimizer.lr model.depth results/mine -o map.png",
    "normlab plot theory results/C11 -o theory.html",
)


def about_pictures() -> list[str]:
    """What each picture shows, its name in colour."""
    return [part.about.format(name=f"[cyan]{name}[/]") for name, part in PICTURES.items()]


def plot(
    picture: Annotated[
        PictureName,
        typer.Argument(
            metavar="PICTURE",
            help=f"{'; '.join(about_pictures())}.",
            show_default=False,
        ),
    ],
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY KEY] RUNS",
            help="Runs or results folders, or starts of ids; without, the experiment made "
            "last, and the latest run for a heatmap. For phase, two keys before them.",
            autocompletion=complete_runs,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="FILE.png, .svg, .pdf or .html; without, in the terminal."
        ),
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(
            help="Of gradients and heatmap: a measurement, such as update_ratio, effective_rank or "
            "an encoder's token_cosine (all: normlab explain measurements); without, "
            f"{PICTURES['gradients'].figure}.",
            autocompletion=complete_probes,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help=f"Of curves: {', '.join(PICTURES['curves'].figures)}; of depth any metric of "
            f"compare; without, {PICTURES['curves'].figure} and {PICTURES['depth'].figure}.",
            autocompletion=complete_curves,
        ),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Of depth: by another key, such as [cyan]optimizer.lr[/]."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Instead of the picture's own.")] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Of a file: its width and height in pixels, as 800x500."),
    ] = None,
    where: Where = None,
    root: IdRoot = RESULTS,
    verbose: Verbose = False,
) -> None:
    """Draw runs: into a file, or as characters in the terminal."""
    from normlab.show import PictureOptions, Screen, draw, read_size, sketch, split_keys

    console = make_console()
    problems: list[str] = []
    keys, names = split_keys(picture, runs or ())
    options = PictureOptions(probe, metric, x, keys, title, read_size(size) if size else None)
    frame = api.runs_to_draw(
        picture,
        *names,
        where=where or (),
        root=root,
        on_problem=problems.append,
        on_choice=print_beside,
    )
    with reading_bar(console) as progress:
        if output is None:
            screen = Screen(console.width, console.height)
            console.print(sketch(picture, frame, options, screen, progress))
        else:
            draw(picture, frame, options, output, progress)
    if output is not None:
        print(f"written to {output}")
    print_problems(problems, verbose=verbose)
