"""What tables, figures and pages of a rehearsal say on their face."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.published import REHEARSAL
from harness.analysis.training_seeds import FIRST_NOTES
from harness.report.gallery import Gallery

NOTE = (
    f"{REHEARSAL}: small networks with random weights stand in for all that is downloaded. No "
    "number here is a result, and none can be compared with published ones."
)
COLUMN = "rehearsal"


def marked(made: Any) -> Any:
    """The same table, figure, gallery or page, with the word in it."""
    if isinstance(made, pd.DataFrame):
        attributes = dict(made.attrs)
        made = made.copy()
        made.insert(0, COLUMN, REHEARSAL)
        columns = {COLUMN: {"meaning": NOTE}, **attributes.get("columns", {})}
        notes = [NOTE, *attributes.get(FIRST_NOTES, ())]
        made.attrs = {**attributes, "columns": columns, FIRST_NOTES: notes}
    elif isinstance(made, Figure):
        style: dict[str, Any] = {"color": "#D55E00", "alpha": 0.5, "ha": "center", "va": "center"}
        made.text(0.5, 0.5, REHEARSAL, fontsize=28, rotation=20, weight="bold", **style)
    elif isinstance(made, Gallery):
        made = made._replace(data={**made.data, COLUMN: NOTE})
    elif isinstance(made, str):
        made = made.replace("</style>", f"</style>\n<h1>{NOTE}</h1>", 1)
    return made
