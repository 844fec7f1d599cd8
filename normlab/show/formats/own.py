"""normlab's own formats, in the order in which they are offered."""

from normlab.show.formats.data import CSV, JSON
from normlab.show.formats.drawn import RICH
from normlab.show.formats.latex import LATEX
from normlab.show.formats.markdown import MARKDOWN
from normlab.show.formats.registry import TABLE_FORMATS

TABLE_FORMATS.add("rich", RICH)
TABLE_FORMATS.add("csv", CSV)
TABLE_FORMATS.add("json", JSON)
TABLE_FORMATS.add("md", MARKDOWN)
TABLE_FORMATS.add("latex", LATEX)
