"""From the job of a table, figure, gallery or page to its files."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.pairing import FrameError
from harness.experiment.jobs import TableJob
from harness.report import figure_style, formats, gallery, pages, table_rows
from harness.report.frame_inputs import call


def run(job: TableJob) -> None:
    """Call the job's function and write what it returns below ``job.out``.

    A DataFrame becomes a table (csv, md, tex, html, parquet, and the rows behind it), a Figure a
    png and a pdf, a Gallery a folder, and a text an HTML page.

    Raises:
        ValueError: as in :func:`harness.report.frame_inputs.call`, or the function returns
            something else.
        FileNotFoundError: a frame or an image is missing.
    """
    made = call(job)
    if isinstance(made, pd.DataFrame):
        formats.write(made, job.out, job)
        table_rows.write(job)
    elif isinstance(made, Figure):
        figure_style.write(made, job.out, job)
    elif isinstance(made, gallery.Gallery):
        gallery.write(made, job.out, job)
    elif isinstance(made, str):
        pages.write(made, job.out, job)
    else:
        raise FrameError(
            f"{job.table.target} returned {type(made).__name__}, "
            "not a DataFrame, Figure, Gallery or HTML text"
        )
