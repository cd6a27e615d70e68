# From prompts to tables: `snakemake --cores all` makes what the config names under `tables`.
import os
import sys
from pathlib import Path

from snakemake.utils import min_version

from harness.base.run_account import account
from harness.base.run_progress import RunProgress
from harness.cli import job_server
from harness.experiment import places
from harness.experiment.workflow import (
    Rules,
    hold_alone,
    insist,
    nearest_target,
    open_experiment,
    refuse,
    rule_outputs,
)

min_version("9.0")


if not Path("workflows/rules").is_dir():
    refuse(
        f"{Path.cwd()} has no workflows: run this in the folder of the Snakefile, without --directory"
    )


# --configfile gives a whole config: merged with this one, its layers would mix.
if not workflow.overwrite_configfiles:

    configfile: "workflows/config/tiny.yaml"


# Recipe in workflows/hypernoise.def; used with --sdm apptainer only.
container: "hypernoise.sif"


report: "workflows/report/workflow.rst"


# Rules call `python`: the one that runs Snakemake. (In the command it would be part of a result's
# identity, and a moved environment would mean doing everything again.)
shell.prefix(
    f'set -euo pipefail; export PATH="{os.path.dirname(sys.executable)}:$PATH"; '
    "export PYTHONUNBUFFERED=1; "
)

experiment = insist(open_experiment, config, workflow.configfiles, workflow.config_settings.config)
ask = Rules(experiment)


# Closed sets, but for the arguments of methods: a misspelt name in a path is no rule's output.
wildcard_constraints:
    model="|".join(experiment.registry.models),
    reward="|".join([*experiment.registry.rewards, "none"]),
    method=ask.methods(),
    training=ask.methods(),
    benchmark="|".join(experiment.registry.benchmarks),
    image_set="|".join(experiment.image_sets),
    steps=r"[1-9]\d*",


for rules_in in sorted(Path("workflows/rules").glob("*.smk")):

    include: rules_in


rule all:
    default_target: True
    input:
        ask.wanted(),


logger.addFilter(nearest_target(lambda: [rule.name for rule in workflow.rules]))
# What a run would stop at, before its first job, a dry run says at its end.
logger.addFilter(ask.at_end_of_dry_run(workflow))


onstart:
    if workflow.is_main_process:
        hold_alone()
        ask.check_ahead(workflow.dag.needrun_jobs())
        if workflow.local_exec:
            # Jobs of a cluster run where no server is.
            job_server.start()
        # One line says how many jobs are done, and about how long the rest takes.
        logger.addFilter(RunProgress(job.rule.name for job in workflow.dag.needrun_jobs()))


onsuccess:
    if workflow.is_main_process:
        ask.say_answer(workflow.dag.finished_jobs)


onerror:
    if workflow.is_main_process:
        # What was made is shown, and the fault last.
        ask.say_answer(workflow.dag.finished_jobs)
    print(account(log), file=sys.stderr)
