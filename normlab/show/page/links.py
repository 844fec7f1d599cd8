"""Links from the page to the folders of its runs."""

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pandas import DataFrame

from normlab.analysis import DEPTH
from normlab.text import percent

# More would make the page large; the folders are all in one place anyway.
MOST_LINKED = 500


class RunLink(NamedTuple):
    """One run and where it lies, as a page beside it names it."""

    id: str
    href: str
    variant: str
    depth: int
    seed: int
    status: str
    verdict: str
    cause: str
    train_acc: str


def run_links(runs: DataFrame, file: Path) -> list[RunLink]:
    """The first runs, each of which has its variant, with links from the file of a page.

    The links are relative, so that results and page can be moved together.
    """
    beside = file.resolve().parent
    return [
        RunLink(
            id=run["run_id"],
            href=quote(os.path.relpath(Path(run["folder"]).resolve(), beside)) + "/",
            variant=run["variant"],
            depth=run[DEPTH],
            seed=run["seed"],
            status=run["status"],
            verdict=run["verdict"] or "",
            cause=run["cause"] or "",
            train_acc="–" if run["train_acc"] != run["train_acc"] else percent(run["train_acc"]),
        )
        for run in runs.head(MOST_LINKED).to_dict("records")
    ]
