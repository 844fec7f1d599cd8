"""What an option may be, asked of the registries when the commands are made.

A registry's names are known only when the program runs; to a type checker they are any text.
"""

from typing import TYPE_CHECKING, Literal

from normlab.analysis import EXPORTS
from normlab.show import PICTURES, formats_of

if TYPE_CHECKING:
    ComparisonFormat = str
    VerdictFormat = str
    AnswerFormat = str
    RunsFormat = str
    PictureName = str
    ExportName = str
else:
    ComparisonFormat = Literal[tuple(formats_of("comparison"))]
    VerdictFormat = Literal[tuple(formats_of("verdicts"))]
    AnswerFormat = Literal[tuple(formats_of("answer"))]
    RunsFormat = Literal[tuple(formats_of("runs"))]
    PictureName = Literal[tuple(PICTURES)]
    ExportName = Literal[tuple(EXPORTS)]
