"""``python -m harness rehearse``: a config's own run, from its downloads to its last table, in
minutes and without a single download.

The rehearsal has a folder of its own: stand-ins in caches, component files that declare them, a
derived config, and results. Snakemake runs in it as it would for the real thing.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from harness.base import own_code
from harness.base.errors import SpecError
from harness.build import data_files
from harness.cli import plan
from harness.experiment.checks import check, check_tables
from harness.experiment.component_files import declared
from harness.experiment.config import read
from harness.experiment.config_files import extended, load_yaml
from harness.experiment.pins import STAND_INS
from harness.experiment.plan import Experiment
from harness.experiment.providers import Table
from harness.rehearsal import account, replacements, verdicts
from harness.rehearsal.small_config import small
from harness.results import provenance
from hypernoise.weights.stand_ins import Shelf

_CONFIG = "rehearsal.yaml"
#: What it leaves beside its results.
_ACCOUNT, _VERDICTS, _MACHINE = "account.md", "checks.csv", "provenance.json"
_COPIED = ("workflows/rules", "workflows/profiles", "workflows/report", "profiles")
#: The packages, and with them the embedded world's weights, which are declared by their paths.
_LINKED = ("harness", "hypernoise")


def run(
    configfile: Path,
    tables: Sequence[str],
    models: Sequence[str],
    out: Path,
    cores: int,
    components: Sequence[Path],
    resume: bool,
) -> int:
    """Rehearse a config; returns Snakemake's exit code, or 1 where a check failed after it.

    In ``out`` it leaves ``account.md``, ``checks.csv`` with a verdict for each check, and
    ``provenance.json`` with versions and hardware.

    Args:
        configfile: any config.
        tables, models: only these of the config's, if any are named.
        out: the rehearsal's folder, which is made; or is an earlier rehearsal's.
        cores: for Snakemake.
        components: folder of the component files.
        resume: whether results of an earlier rehearsal there are gone on with.

    Raises:
        SpecError: the config is faulty, ``out`` is another folder, or a component has no stand-in.
    """
    started = time.monotonic()
    if out.exists() and not (out / _CONFIG).is_file() and any(out.iterdir()):
        raise SpecError(f"{out} is there, and is no rehearsal's folder: name another as --out")
    content = extended(load_yaml(configfile), configfile.parent)
    own = map(Path, read(content, str(configfile)).components)
    registry = declared(*components, *own)
    content = small(content, registry, tables, models)
    experiment = Experiment(read(content, str(configfile)), registry, str(configfile))
    check(experiment)
    check_tables(experiment)
    each = [(table, model) for table in experiment.asked() for model in experiment.each_of(table)]
    asked = [Table(experiment, table, model) for table, model in each]
    names = experiment.needed({name for table in asked for name in table.spec.sets})
    is_compared = any("pairs" in table.parameters for table in asked)
    similarities = dict(content.get("similarities", {})) if is_compared else {}
    if any("distances" in table.parameters for table in asked):
        similarities |= content.get("features", {})
    # The folder is a rehearsal's from here on, should it be interrupted.
    out.mkdir(parents=True, exist_ok=True)
    (out / _CONFIG).touch()
    if not resume:
        # Snakemake would not see that the code is another one since.
        shutil.rmtree(out / "results", ignore_errors=True)
    shelf = Shelf(out / "caches")
    print(f"Making stand-ins in {out}...", file=sys.stderr)
    found = replacements.replaced(registry, names, similarities, shelf)
    replacements.shrink(experiment)
    replacements.write(registry, out / "workflows")
    listing = replacements.lay_data(out / "data")
    for name in _COPIED:
        shutil.copytree(own_code.shipped(name), out / name, dirs_exist_ok=True)
    shutil.copy(own_code.shipped("Snakefile"), out)
    for name in _LINKED:
        if not (out / name).exists():
            (out / name).symlink_to(own_code.INSTALLED / name)
    # JSON knows no tuples and no second mention of the same list.
    text = yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False)
    (out / _CONFIG).write_text(text, encoding="utf-8")
    environment = {**os.environ, **shelf.environment, STAND_INS: str(listing.absolute())}
    environment[data_files.VARIABLE] = str((out / "data").absolute())
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--configfile", _CONFIG]
    code = subprocess.run(command, cwd=out, env=environment, check=False).returncode
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    held = verdicts.verdicts(out, [table.stem for table in asked], code, environment)
    lines = [*account.told(out, found, held, seconds, peak), "", *plan.lines(configfile)]
    print(*lines, sep="\n")
    (out / _ACCOUNT).write_text("\n".join([*lines, ""]), encoding="utf-8")
    pd.DataFrame(held).to_csv(out / _VERDICTS, index=False)
    facts = json.loads(provenance.collect("rehearsal", {"configfile": str(configfile)}))
    (out / _MACHINE).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return code or int(not all(verdict.passed for verdict in held))
