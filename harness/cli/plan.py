"""``python -m harness plan``: what a config's run will take, before any of it starts."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.base.errors import SpecError, unknown
from harness.experiment.config_files import load_yaml
from harness.experiment.pins import FOLDER
from harness.experiment.publishers import in_bytes
from harness.experiment.workflow import open_experiment
from harness.planning.costs import Costs, Fetched, Work, total
from harness.planning.job_graph import JobGraph
from harness.planning.schedule import longest, makespan
from harness.planning.speeds import PAPER, Speeds, of_paper, of_snapshot

_GPUS = (1, 8, 64)
_UNKNOWN = "unknown"


def run(
    configfile: Path, gpu: str, snapshots: Path, price: float | None, components: Sequence[Path]
) -> None:
    """Print what the tables of a config take.

    Args:
        configfile: the config.
        gpu: a folder of ``snapshots``; empty for this machine's GPU, if it has a snapshot, and else
            for the paper's seconds.
        snapshots: folder of snapshots, one for each GPU kind.
        price: of a GPU hour, in any currency; None for no price.
        components: folders of declarations, the workflow's first.

    Raises:
        SpecError: the config is wrong, there is no such snapshot, or the price is negative.
        FileNotFoundError: the config or a file of the snapshot is missing.
    """
    for line in lines(configfile, gpu, snapshots, price, components):
        print(line)


def lines(
    configfile: Path, gpu: str = "", snapshots: Path = Path("results/snapshots"),
    price: float | None = None, components: Sequence[Path] = (FOLDER,),
) -> Iterator[str]:  # fmt: skip
    """The plan as Markdown; arguments and errors are those of :func:`run`."""
    if price is not None and not price >= 0:
        raise SpecError(f"--price is {price}, must be at least 0")
    workflows, *more = components
    config, files = load_yaml(configfile), [str(configfile)]
    experiment = open_experiment(config, files, workflows=workflows, components=more)
    there = sorted(path.name for path in snapshots.iterdir()) if snapshots.is_dir() else []
    if gpu and gpu not in there:
        raise unknown(f"GPU kind with a snapshot in {snapshots}", gpu, there)
    kind, measured = gpu or _this_gpu(), None
    if kind in there:
        measured = of_snapshot(snapshots / kind, experiment.config.batch_size)
    sources = (*([measured] if measured else []), of_paper())
    costs = Costs(JobGraph(experiment), Speeds(experiment, sources))
    yield f"# What {configfile} takes"
    yield ""
    yield (
        f"Seconds are those of the snapshot of {kind}; what it lacks is the paper's, "
        "measured on an H100, and marked as such."
        if measured
        else "Seconds are the PAPER'S, measured on an H100: there is no snapshot of this GPU kind "
        "(`make snapshot` makes one)."
    ) + " Nothing is guessed: what nobody measured is unknown."
    yield from ["", "## Jobs and GPU hours", "", *tables(costs, price)]
    yield from ["", "## By rule", "", *rules(costs)]
    yield from ["", "## From start to end", "", *schedules(costs)]
    yield from ["", "## Disk", "", *disk(costs)]
    yield from ["", "## Downloads", "", *downloads(costs.downloads())]


def _this_gpu() -> str:
    """This machine's GPU kind, as its snapshot's folder is called; empty without one."""
    if not (program := shutil.which("nvidia-smi")):
        return ""
    asked = [program, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    first = next(iter(done.stdout.splitlines()), "") if done.returncode == 0 else ""
    return re.sub(r"[^a-z0-9]+", "_", first.lower()).strip("_")


def _rows(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def tables(costs: Costs, price: float | None) -> Iterator[str]:
    """Jobs, images, steps and GPU hours of each table, with a price if one is given."""

    def row(name: str, works: Iterable[Work]) -> list[object]:
        found = total(works)
        made = [name, int(found["jobs"]), f"{found['images']:,.0f}", f"{found['steps']:,.0f}"]
        unknown = f" and {found['unknown']:.0f} jobs unknown" if found["unknown"] else ""
        own = [*made, f"{found['gpu_hours']:.1f}{unknown}"]
        return own if price is None else [*own, f"{price * found['gpu_hours']:,.2f}"]

    head = ["table", "jobs", "images", "training steps", "GPU hours"]
    tables = costs.graph.tables.items()
    rows = [row(name, (costs.work(job) for job in jobs)) for name, jobs in tables]
    rows.append(row("**all**", (costs.work(job) for job in costs.graph.needs)))
    yield from _rows(head if price is None else [*head, "price"], rows)
    yield ""
    yield (
        "Images are those that jobs make, train on, score or compare. Tables share jobs, which "
        "each of them counts, and the last row counts once."
    )


def rules(costs: Costs) -> Iterator[str]:
    """What each kind of job takes, and where its seconds are from."""
    by_rule: dict[str, dict[str, list[Work]]] = {}
    for job in costs.graph.needs:
        work = costs.work(job)
        if work.gpus:
            by_rule.setdefault(job.rule, {}).setdefault(work.speed.basis, []).append(work)
    rows = []
    for rule, of_basis in by_rule.items():
        for basis, works in of_basis.items():
            found = total(works)
            hours = _UNKNOWN if found["unknown"] else f"{found['gpu_hours']:.1f}"
            notes = dict.fromkeys(work.speed.note for work in works if work.speed.note)
            shown = "; ".join([*list(notes)[:4], *(["..."] if len(notes) > 4 else [])])
            rows.append([rule, basis or PAPER, len(works), f"{found['images']:,.0f}", hours, shown])
    yield from _rows(["rule", "seconds from", "jobs", "images", "GPU hours", "derived as"], rows)


def schedules(costs: Costs) -> Iterator[str]:
    """Hours from the first start to the last end, on some numbers of GPUs."""
    rows = []
    for n in _GPUS:
        whole, cut = (makespan(costs.tasks, n, sharded) / 3600 for sharded in (False, True))
        rows.append([n, f"{whole:.1f} h", f"{cut:.1f} h"])
    yield from _rows(["GPUs", "jobs as they are", "images in shards"], rows)
    chain = [job for job in longest(costs.tasks) if costs.tasks[job].seconds]
    said = [
        f"{job.rule} {job.what} on {job.model} ({(costs.tasks[job].seconds / 3600):.1f} h)"
        for job in chain
    ]
    yield ""
    yield (
        f"The longest chain: {', then '.join(said) or 'none of known length'}. Jobs whose time is "
        "unknown count as none, so these are lower bounds. A shard has some of a job's prompts."
    )


def disk(costs: Costs) -> Iterator[str]:
    """What is left on disk, by kind."""
    found = costs.disk()
    rows = [
        [kind, in_bytes(d.size_bytes) + (f" and {d.unknown} unknown" if d.unknown else ""), d.note]
        for kind, d in found.items()
    ]
    whole = sum(d.size_bytes for d in found.values())
    unknown_ones = sum(d.unknown for d in found.values())
    said = in_bytes(whole) + (f" and {unknown_ones} unknown" if unknown_ones else "")
    yield from _rows(["kind", "size", "how it is known"], [*rows, ["**all**", said, ""]])


def downloads(found: Sequence[Fetched]) -> Iterator[str]:
    """What is fetched from where, with what is known of it."""
    rows = [
        [
            each.place,
            each.size,
            each.licence or _UNKNOWN,
            each.access + (f", lacks its {' and '.join(each.lacks)}" if each.lacks else ""),
            ", ".join(each.users),
        ]
        for each in found
    ]
    yield from _rows(["from", "size", "licence", "access", "needed by"], rows)
    known = sum(each.size_bytes or 0 for each in found)
    lacking = sum(each.size_bytes is None for each in found)
    yield ""
    yield (
        f"In all {in_bytes(known)} of known size, and {lacking} places of unknown size. `python -m "
        "harness pin` lists what lacks a pin; terms of gated repositories are accepted in the hub."
    )
