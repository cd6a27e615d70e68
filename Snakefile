# From prompts to tables: `snakemake --cores all` makes what the config names under `tables`.
import os
import sys
from pathlib import Path

from snakemake.io import IOFile
from snakemake.utils import min_version

from harness.cli.run_hooks import at_error, at_start, at_success, opened
from harness.experiment import places
from harness.experiment.workflow import (
    Rules,
    insist,
    nearest_target,
    open_experiment,
    refuse,
    rule_outputs,
)
from harness.planning.cluster import Cluster

min_version("9.0")


# Beside this file, wherever results go: --directory names another folder, and so may a Snakefile that
# uses this one as a module.
WORKFLOWS = Path(workflow.current_basedir) / "workflows"
if WORKFLOWS.parent == Path.cwd():
    WORKFLOWS = Path("workflows")
elif (WORKFLOWS.parent / "data").is_dir():
    # So do the published files that lie there.
    os.environ.setdefault("HYPERNOISE_DATA", str(WORKFLOWS.parent / "data"))

if not (WORKFLOWS / "rules").is_dir():
    refuse(f"{WORKFLOWS.parent.absolute()} has this Snakefile, but no workflows beside it")


# --configfile gives a whole config: merged with this one, its layers would mix.
if not workflow.overwrite_configfiles:

    configfile: WORKFLOWS / "config" / "tiny.yaml"


# Recipe in workflows/hypernoise.def; used with --sdm apptainer only.
container: str(WORKFLOWS.parent / "hypernoise.sif")


report: "workflows/report/workflow.rst"


# Rules call `python`: the one that runs Snakemake. (In the command it would be part of a result's
# identity, and a moved environment would mean doing everything again.)
shell.prefix(
    f'set -euo pipefail; export PATH="{os.path.dirname(sys.executable)}:$PATH"; '
    "export PYTHONUNBUFFERED=1; "
)

experiment = insist(
    open_experiment, config, workflow.configfiles, workflow.config_settings.config, WORKFLOWS
)
ask = opened(Rules(experiment))
cluster = Cluster(
    experiment, lambda: workflow.local_exec, lambda file: workflow.persistence.input(IOFile(file))
)


# Closed sets, but for the arguments of methods: a misspelt name in a path is no rule's output.
wildcard_constraints:
    model="|".join(experiment.registry.models),
    reward="|".join([*experiment.registry.rewards, "none"]),
    method=ask.methods(),
    training=ask.methods(),
    benchmark="|".join(experiment.registry.benchmarks),
    image_set="|".join(experiment.image_sets),
    steps=r"[1-9]\d*",
    shard=r"[1-9]\d*",
    shards=r"[1-9]\d*",


for rules_in in sorted((WORKFLOWS / "rules").absolute().glob("*.smk")):

    include: rules_in


rule all:
    default_target: True
    input:
        ask.wanted(),


logger.addFilter(nearest_target(lambda: [rule.name for rule in workflow.rules]))
# What a run would stop at, before its first job, a dry run says at its end.
logger.addFilter(ask.at_end_of_dry_run(workflow))


onstart:
    at_start(workflow, logger)


onsuccess:
    at_success(workflow)


onerror:
    at_error(workflow, log)
