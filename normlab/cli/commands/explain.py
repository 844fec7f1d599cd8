"""normlab explain"""

from pathlib import Path
from typing import Annotated

import typer

from normlab.cli.options import examples
from normlab.cli.output import make_console
from normlab.errors import ConfigError
from normlab.text import did_you_mean

EXAMPLES = examples("normlab explain", "normlab explain measurements")
# A Markdown file each: a title, then what it is about in one line, then all the rest.
TOPICS_FOLDER = Path(__file__).parents[1] / "topics"
# In columns; longer lines are tiring to read.
MOST_COLUMNS = 100


def read_topics() -> dict[str, str]:
    """Every topic's Markdown, by its name."""
    return {
        file.stem: file.read_text(encoding="utf-8") for file in sorted(TOPICS_FOLDER.glob("*.md"))
    }


def summary_of(text: str) -> str:
    """What a topic is about, in one line."""
    return text.split("\n\n", 2)[1]


def text_with_plugins(name: str, text: str) -> str:
    """A topic's Markdown; the settings with the parts that plugins bring."""
    if name != "settings":
        return text
    from normlab import api

    facts = api.info_of_plugins()
    rows = [
        f"| `{part}` | {plugin} |"
        for plugin, told in facts.items()
        for part in told.get("parts", ())
    ]
    return (
        "\n".join([text, "## Of plugins\n\n| part | plugin |\n|---|---|", *rows]) if rows else text
    )


def complete_topics(incomplete: str) -> list[tuple[str, str]]:
    """The topics that begin so, each with what it is about."""
    return [
        (name, summary_of(text))
        for name, text in read_topics().items()
        if name.startswith(incomplete.lower())
    ]


def explain(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC",
            help="Such as [cyan]measurements[/]; without, the list of topics.",
            autocompletion=complete_topics,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Explain what is measured and judged, what a file holds, how a sweep is written, and more."""
    from rich.markdown import Markdown
    from rich.table import Table

    topics = read_topics()
    console = make_console()
    console.width = min(console.width, MOST_COLUMNS)
    if topic is None:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        for name, text in topics.items():
            table.add_row(name, summary_of(text))
        console.print(table)
        return
    name = topic.lower()
    if name not in topics:
        raise ConfigError(
            f"{topic}: no such topic; choices: {', '.join(topics)}"
            f"{did_you_mean(name, list(topics))}"
        )
    text = text_with_plugins(name, topics[name])
    # Outside of a terminal, where nothing can be clicked, addresses are written out.
    console.print(Markdown(text, hyperlinks=console.is_terminal))
