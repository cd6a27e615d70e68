# From prompts to tables: `snakemake --cores all` makes what the config names under `tables`.
from snakemake.utils import min_version

min_version("9.0")


# --configfile gives a whole config: merged with this one, its layers would mix.
if not workflow.overwrite_configfiles:

    configfile: "workflows/config/tiny.yaml"


# Recipe in workflows/hypernoise.def; used with --sdm apptainer only.
container: "hypernoise.sif"


report: "workflows/report/workflow.rst"


include: "workflows/rules/common.smk"


for declared_in in component_files("models", "rewards", "methods", "benchmarks"):

    include: declared_in


insist(pins.use, registry, Path("workflows"))
insist(experiment.check)


for rules_in in "wildcards pretrain train audit generate score pairs profile tables".split():

    include: f"workflows/rules/{rules_in}.smk"


for declared_in in component_files("tables"):

    include: declared_in


insist(experiment.check_tables)


rule all:
    default_target: True
    input:
        # A table whose rule makes nothing itself stands for what that rule asks for.
        [getattr(rules, name).output or getattr(rules, name).input for name in config["tables"]],


onstart:
    if workflow.is_main_process:
        hold_alone()
        check_ahead(workflow.dag.needrun_jobs())
        tell_progress(workflow.dag.needrun_jobs())


onerror:
    print(faults(log), file=sys.stderr)
