"""Whether tables, figures, gallery and pages are what their frames give now."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.pairing import examples
from harness.base.errors import SpecError
from harness.experiment.jobs import TableJob
from harness.experiment.validation import from_json
from harness.report import (
    figure_diff,
    figure_style,
    formats,
    front_page,
    gallery,
    table_diff,
    table_rows,
)
from harness.report.frame_inputs import make
from harness.results import component_versions, frames, provenance
from harness.results.results_folder import Made, with_record
from harness.verification.findings import STALE, Finding, Folder, check_links
from harness.verification.origins import named_by, read_by

#: Lines per file, after which differing cells are only counted.
MOST_CELLS = 20
#: Snakemake's report of a run, beside its folders.
REPORT = "report.html"
_EMBEDDED = re.compile(
    r'"data_uri": ?"data:[^";]+;[^"]*?filename=([^";]+);base64,([A-Za-z0-9+/=]+)"'
)


def table(made: Made, folder: Folder) -> Iterator[Finding]:
    """Components that a table has in two versions, and how it differs from one made anew."""
    try:
        paths = [made.locate(named) for named in read_by(made)]
        # What is missing or broken is said of the frame itself.
        component_versions.check(p for p in paths if p.is_file() and p not in folder.broken)
    except SpecError as error:
        yield Finding(str(made.path), str(error))
    job = _job(made, folder)
    anew = make(job, pd.DataFrame)
    with tempfile.TemporaryDirectory() as temporary:
        for path in formats.write(anew, Path(temporary) / made.path.stem, job, made.record):
            stored = made.path.with_name(made.path.stem + path.suffix)
            check_links(stored)
            if not stored.is_file():
                yield Finding(str(stored), "is missing")
                continue
            lines = list(table_diff.differences(stored, path))
            if (more := len(lines) - MOST_CELLS) > 0:
                lines[MOST_CELLS:] = [f"and {more} more differences"]
            yield from (Finding(str(stored), line) for line in lines)


def rows(made: Made, folder: Folder) -> Iterator[Finding]:
    """Whether the rows next to a table are those of the frames that it names."""
    named = ((kind, file, made.locate(file)) for file, kind in named_by(made).items())
    if not frames.read_any(made.path).equals(table_rows.gather(named).to_pandas()):
        yield Finding(str(made.path), "holds other rows than the frames that it names")


def figure(made: Made, folder: Folder) -> Iterator[Finding]:
    """Whether a figure's pixels are those that were written, and those that are drawn anew."""
    file, pdf = str(made.path), made.path.with_suffix(".pdf")
    if figure_style.pixels_digest(made.path) != made.record.get(figure_style.PIXELS):
        yield Finding(file, "its pixels are not those that were written: their SHA-256 differs")
    if pdf.name not in made.outputs:
        yield Finding(file, f"its provenance lacks the SHA-256 of {pdf.name}")
    # A note names those that are not comparable.
    if not figure_diff.is_comparable(made.path):
        return
    job = _job(made, folder)
    drawn = make(job, Figure)
    with tempfile.TemporaryDirectory() as temporary:
        lines = list(figure_diff.differences(made.path, drawn, Path(temporary)))
        yield from (Finding(file, line) for line in lines)
        again, digest = Path(temporary) / made.path.name, figure_style.pixels_digest
        # The same pixels to the last: the same fonts and libraries, and so the same PDF.
        if again.is_file() and digest(again) == digest(made.path) and pdf.is_file():
            beside = (figure_style.PIXELS, "outputs", "seal")
            record = {name: told for name, told in made.record.items() if name not in beside}
            anew = Path(temporary) / pdf.name
            figure_style.save_pdf(drawn, anew, job.table.name, provenance.sealed(record))
            if anew.read_bytes() != pdf.read_bytes():
                yield Finding(str(pdf), "differs from what its frames give")


def pages(made: Made, folder: Folder) -> Iterator[Finding]:
    """Whether a page is the one that is written anew; frames are called what its job calls them."""
    job = _job(made, folder)
    text = make(job, str)
    for files in made.spec["inputs"].values():
        for file in files:
            text = text.replace(str(made.locate(file)), file)
    yield from _line_by_line(made.path, with_record(text, json.dumps(made.record)))


def galleries(made: Made, folder: Folder) -> Iterator[Finding]:
    """Whether a gallery's page and pictures are those that are made anew."""
    page = next(name for name in made.outputs if name.endswith(".html"))
    job = _job(made, folder)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / Path(page).stem
        written, pictures, _ = gallery.write(make(job, gallery.Gallery), out, job, made.record)
        yield from _line_by_line(made.path.with_name(page), written.read_text(encoding="utf-8"))
        here = made.path.with_name(pictures.name)
        # Another Pillow may scale thumbnails otherwise; their hashes are checked in any case.
        known = made.record["packages"].get("pillow") == provenance.packages()["pillow"]
        if known and folder.hashed(here) != provenance.digest(pictures):
            names = sorted(p.relative_to(pictures).as_posix() for p in pictures.rglob("*.*"))
            other = [n for n in names if _bytes(here / n) != _bytes(pictures / n)]
            what = f"holds other pictures than its frames name: {examples(other) or 'more'}"
            yield Finding(str(here), what)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _line_by_line(stored: Path, anew: str) -> Iterator[Finding]:
    was, now = stored.read_text(encoding="utf-8").splitlines(), anew.splitlines()
    if len(was) != len(now):
        yield Finding(str(stored), f"has {len(was)} lines, written anew {len(now)}")
    for number, (one, other) in enumerate(zip(was, now, strict=False), start=1):
        if one != other:
            place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
            shown = (text[max(0, place - 20) : place + 60] for text in (one, other))
            yield Finding(str(stored), "line {}: {}, written anew {}".format(number, *shown))
            return


def front(made: Made, folder: Folder) -> Iterator[Finding]:
    """Whether the first page is the one that the folder's tables give."""
    root = made.results
    anew = front_page.page(root, folder.found.made, front_page.answer_of(root))
    for finding in _line_by_line(made.path, anew):
        remedy = "if a run was stopped, `python -m harness summary` writes the page again"
        yield finding._replace(what=f"{finding.what}; {remedy}")


def report(path: Path, folder: Folder) -> Iterator[Finding]:
    """Whether every table, figure and page inside Snakemake's report is a file of the folder."""
    text = path.read_text(encoding="utf-8")
    embedded = _EMBEDDED.findall(text)
    if not embedded:
        yield Finding(str(path), "holds no result that could be compared with a file of the folder")
    home = path.parent
    for name, content in embedded:
        sha256 = hashlib.sha256(base64.b64decode(content)).hexdigest()
        files = [file for kind in ("tables", "figures") for file in home.glob(f"{kind}/{name}")]
        if sha256 not in {folder.hashed(file) for file in files}:
            what = f"shows another {name} than lies in the folder"
            newest = max((file.stat().st_mtime for file in files), default=0.0)
            if path.stat().st_mtime >= newest:
                yield Finding(str(path), what)
                continue
            remedy = f"`snakemake --report {path}` makes it again"
            yield Finding(str(path), f"{what}, which was made later; {remedy}", STALE)


def _job(made: Made, folder: Folder) -> TableJob:
    """The job of a table or figure, with the declared function and its inputs where they are now.

    Raises:
        SpecError: no such table is declared here, or in another version.
    """
    job = from_json(json.dumps(dict(made.spec)), TableJob)
    name, tables = job.table.name, folder.registry.tables
    # A set of images that has no table of its own has a table of its scores.
    is_of_set = name not in tables and job.table.sets == (name,)
    spec = folder.registry.find(tables, "table", "sweep" if is_of_set else name)
    if spec.version != job.table.version:
        raise SpecError(
            f"it is version {job.table.version} of {spec.name}, {spec.file} declares {spec.version}"
        )
    moved: dict[str, Any] = {
        kind: tuple(str(made.locate(file)) for file in files) for kind, files in job.inputs.items()
    }
    named = replace(spec, name=name, arguments=job.table.arguments)
    return replace(job, table=named, inputs=moved)
