"""What `normlab explain` prints: a Markdown file a topic, in the package."""

from pathlib import Path

from normlab.errors import ConfigError
from normlab.text import did_you_mean

FOLDER = Path(__file__).parents[1] / "explain"


def topic_titles() -> dict[str, str]:
    """The topics and their first lines, by name."""
    return {
        file.stem: file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for file in sorted(FOLDER.glob("*.md"))
    }


def topic_text(name: str) -> str:
    """A topic as Markdown; raises ConfigError for one that is not there."""
    topics = topic_titles()
    if name not in topics:
        raise ConfigError(
            f"{name}: no such topic; choices: {', '.join(topics)}{did_you_mean(name, list(topics))}"
        )
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")
