"""csv and json: tidy rows for programs."""

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from normlab.show.formats.registry import TableFormat

if TYPE_CHECKING:
    from pandas import DataFrame

    from normlab.claims import Verdict


def to_json_rows(frame: "DataFrame") -> str:
    """Tidy rows as a strict JSON list of objects; what is absent or not finite is null."""
    rows = [
        {str(key): _plain(value) for key, value in record.items()}
        for record in frame.to_dict("records")
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(frame: "DataFrame") -> str:
    """Tidy rows as CSV; what is absent is empty."""
    return str(frame.to_csv(index=False)).rstrip("\n")


def to_verdict_json(verdicts: "Sequence[Verdict]") -> str:
    """A JSON list of verdicts; an open end of a gate and a figure that is not finite are null."""
    from normlab.claims import as_rows
    from normlab.runs import to_json

    rows = [json.loads(to_json(row)) for row in as_rows(verdicts)]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def to_json_answer(values: Any, _: Callable[[], object]) -> str:
    """A command's values as strict JSON."""
    from normlab.runs import to_json

    return to_json(values)


CSV = TableFormat(
    comparison=lambda compared: to_csv(compared.summary),
    pairs=lambda compared: to_csv(compared.pairs),
    runs=lambda listed: to_csv(listed.runs),
    noted=False,
)
JSON = TableFormat(
    comparison=lambda compared: to_json_rows(compared.summary),
    pairs=lambda compared: to_json_rows(compared.pairs),
    runs=lambda listed: to_json_rows(listed.runs),
    verdicts=to_verdict_json,
    answer=to_json_answer,
    noted=False,
)
