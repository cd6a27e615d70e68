# The registry that component files fill, the checked config, and where files go.
import fcntl
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import yaml
from snakemake.logging import logger

from harness.base.run_progress import RunProgress
from harness.experiment import pins
from harness.experiment.config import check_schema, extended
from harness.experiment.plan import NO_REWARD, Experiment, Run
from harness.experiment.jobs import MatchJob, PretrainJob, TableJob, to_json
from harness.experiment.image_sets import COMPARE, CONTROLS, DIVERSITY, REGULARISATION
from harness.experiment.components import Registry, SpecError

# One folder each; the patterns' fields are the wildcards.
TRAINING = "results/training/{model}/{reward}/{training}"
AUDITS = "results/audits/{model}/{reward}/{method}.parquet"
MATCHED = "results/matched/{model}/{reward}/{method}"
IMAGES = "results/images/{benchmark}/{model}/{method}/{reward}/steps{steps}"
SCORES = "results/scores/{selection}/{model}.parquet"
PAIRS = "results/pairs/{selection}/{model}.parquet"
TIMINGS = "results/timings/{selection}/{model}.parquet"

# Figures of this part of the report are grids of images.
SAME_NOISE = "Images from the same noise"

# Verbs, and rules of the same name, whose jobs can be checked before any other has run.
CHECKED_AHEAD = ("train", "generate")

# Rules call `python`: the one that runs Snakemake. (In the command it would be part of a result's
# identity, and a moved environment would mean doing everything again.)
shell.prefix(
    f'set -euo pipefail; export PATH="{os.path.dirname(sys.executable)}:$PATH"; '
    "export PYTHONUNBUFFERED=1; "
)


def refuse(fault):
    """Stop before any job, with one line: for a WorkflowError, Snakemake would list the files that
    it went through."""
    raise SystemExit(f"error: {str(fault).removeprefix('error: ')}")


def hold_alone():
    """Keep other runs out of this folder for as long as this process lives.

    Snakemake's own lock outlives a killed run and has to be removed by hand; the system's does not.
    """
    global run_lock
    Path("results").mkdir(exist_ok=True)
    run_lock = open("results/.lock", "w", encoding="utf-8")
    try:
        fcntl.flock(run_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        refuse("another run is at work in this folder; wait for it, or stop it")


def check_ahead(jobs):
    """Look at weights, prompts and options of every job before the first one starts."""
    ahead = [job for job in jobs if job.rule.name in CHECKED_AHEAD]
    pending = [(job.rule.name, job.params.job) for job in ahead]
    if not pending:
        return
    pending.append(("overlap", to_json(overlap_of(ahead))))
    lines = "".join(f"{verb}\t{job}\n" for verb, job in pending)
    print(f"Checking weights, prompts and options of {len(pending)} jobs...", file=sys.stderr)
    command = [sys.executable, "-m", "harness", "preflight"]
    command += ["--processes", str(config["processes"])]
    done = subprocess.run(command, input=lines, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        refuse(done.stderr.strip())


def tell_progress(jobs):
    """Have one line say how many of some jobs are done, and about how long the rest takes."""
    logger.addFilter(RunProgress(job.rule.name for job in jobs))


def overlap_of(jobs):
    """The check that nothing is evaluated on that these jobs, or the trainings behind them, train on."""
    runs = [run_of(job.wildcards) for job in jobs if job.rule.name == "generate"]
    trained = [tuple(job.wildcards) for job in jobs if job.rule.name == "train"]
    trained += [(r.model, r.reward, r.method) for r in runs if registry.methods[r.method].trains]
    benchmarks = [config["benchmark"], *(run.benchmark for run in runs)]
    return experiment.overlap_job(trained, benchmarks)


def faults(snakemake_logs):
    """What the failed jobs' own logs say last: Snakemake's account of a failure hides it."""
    account = "".join(Path(file).read_text(encoding="utf-8") for file in snakemake_logs)
    named = re.findall(r"log: (\S+) \(check log", account)
    logs = [Path(file) for file in dict.fromkeys(named) if Path(file).is_file()]
    lines = {file: file.read_text(encoding="utf-8").strip().splitlines() for file in logs}
    return "\n".join(f"{file}: {_fault(lines[file])}" for file in logs if lines[file])


def _fault(lines):
    # Launchers of several processes add an account of their own.
    return next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])


def component_files(*kinds):
    """The component files of some folders, sorted, so that their order is everywhere the same."""
    return [file for kind in kinds for file in sorted(Path("workflows", kind).glob("*.smk"))]


def declaring(add):
    """A registry's ``add_`` function that knows which file it is called from."""

    def add_component(name, **keywords):
        try:
            add(name, file=str(declared_in), **keywords)
        except SpecError as error:
            refuse(error)
        except TypeError as error:
            refuse(f"{declared_in}: {error}")

    return add_component


registry = Registry()
add_model = declaring(registry.add_model)
add_reward = declaring(registry.add_reward)
add_method = declaring(registry.add_method)
add_benchmark = declaring(registry.add_benchmark)
add_table = declaring(registry.add_table)


def insist(check, *arguments):
    """Call a check; what it finds stops the workflow."""
    try:
        return check(*arguments)
    except SpecError as error:
        refuse(error)


def read_yaml(path):
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


config_files = ", ".join(os.path.relpath(file) for file in workflow.configfiles)
# In place: Snakemake's report shows this very dictionary.
whole = insist(extended, config, Path(workflow.configfiles[-1]).parent, read_yaml)
config.clear()
config.update(whole)
schema = read_yaml("workflows/config/schema.yaml")
insist(check_schema, config, schema, config_files)
experiment = Experiment(config, registry, config_files)
gpus = int(shutil.which("nvidia-smi") is not None) if config["gpus"] == "auto" else config["gpus"]


def launcher(n_processes):
    """How a program is started in that many processes."""
    if n_processes == 1:
        return "python"
    return f"torchrun --standalone --nproc-per-node {n_processes}"


def training_of(run):
    """The folder of the training that the method of a run, or of wildcards, draws on."""
    training = experiment.training(run.model, run.reward, run.method)
    return TRAINING.format(model=run.model, reward=run.reward, training=training)


def adapter_of(run):
    """The folder of the trained network that a run needs, or None."""
    spec = registry.methods[run.method]
    if spec.trains is None:
        return None
    insist(experiment.check_checkpoint, run)
    if spec.state == "matched":
        return MATCHED.format(model=run.model, reward=run.reward, method=run.method)
    return training_of(run)


def weights_of(run):
    """Local files that a run reads: weights of the model and of a searched reward, its adapter."""
    searched = [run.reward] if registry.methods[run.method].needs_reward else []
    adapter = adapter_of(run)
    return experiment.weight_files(run.model, *searched) + ([adapter] if adapter else [])


def matching(wildcards):
    """The job that picks the checkpoint of a matched method."""
    model, reward = wildcards.model, wildcards.reward
    training = experiment.training(model, reward, wildcards.method)
    noise_training = experiment.noise_training(model, reward)
    return MatchJob(
        finetune=TRAINING.format(model=model, reward=reward, training=training),
        hypernoise=TRAINING.format(model=model, reward=reward, training=noise_training),
        reward=reward,
        out=MATCHED.format(**wildcards),
    )


def work_folder(stage, wildcards):
    """Where a job keeps what a killed run leaves behind: no declared output, so it stays."""
    return str(Path("results/work", stage, *wildcards))


def timed(wildcards):
    """The runs whose methods are timed."""
    return experiment.runs(wildcards.selection, wildcards.model)


def run_of(wildcards):
    """The run that an image folder's wildcards name."""
    return Run(**{**wildcards, "steps": int(wildcards.steps)})


def image_frames(selection, model):
    """The image frames of a selection that one model makes."""
    runs = experiment.runs(selection, model)
    return [f"{IMAGES.format(**run._asdict())}/images.parquet" for run in runs]


def frames_of(selection, *kinds):
    """Frames of a selection, by kind: what tables are made of."""
    models = experiment.selected_models(selection)
    runs = [run for model in models for run in experiment.runs(selection, model)]
    searched = [run for run in runs if registry.methods[run.method].needs_reward]
    folders = {"images": runs, "trajectories": searched}
    files = {
        kind: [f"{IMAGES.format(**run._asdict())}/{kind}.parquet" for run in chosen]
        for kind, chosen in folders.items()
    }
    files["scores"] = expand(SCORES, selection=selection, model=models)
    files["timings"] = expand(TIMINGS, selection=selection, model=models)
    files["pairs"] = expand(PAIRS, selection=selection, model=models)
    return {kind: files[kind] for kind in kinds}


def main_frames(*kinds):
    """Frames of the config's own models and methods."""
    return frames_of(config["benchmark"], *kinds)


def audit_frames(models, methods):
    """The audits of some methods' networks."""
    return expand(AUDITS, model=models, reward=config["reward"], method=methods)


def audit_table_job(name, models, methods):
    """The job of a table of audits, as JSON."""
    audits = {"audits": audit_frames(models, methods)}
    arguments = {"temperatures": experiment.temperatures(models, methods)}
    stem = f"results/tables/{name}"
    return table_job(name, stem, audits, models=models, methods=methods, **arguments)


def regularised_networks():
    """Models and noise networks of the selection of regularisations, whose KL is audited."""
    insist(experiment.check_selection, REGULARISATION, "audit_regularisation")
    methods = experiment.moving_noise(experiment.selection(REGULARISATION).methods)
    return {"models": experiment.selected_models(REGULARISATION), "methods": methods}


def training_folders(models, reward, methods, **_):
    """The folders of the trainings of some models and methods on a reward."""
    trainings = [(m, reward, experiment.training(m, reward, t)) for m in models for t in methods]
    return [TRAINING.format(model=m, reward=r, training=t) for m, r, t in trainings]


def regularisation_inputs():
    """Frames of the selection of regularisations, and the folders of the trainings behind it."""
    insist(experiment.check_selection, REGULARISATION, "regularisation")
    settings = insist(experiment.regularisations)
    used = sorted({(m, own["training"]) for m in settings for own in settings[m].values()})
    reward = config["reward"]
    folders = [TRAINING.format(model=m, reward=reward, training=name) for m, name in used]
    kinds = ["scores", *(["pairs"] if DIVERSITY in config else [])]
    return {**frames_of(REGULARISATION, *kinds), "trainings": folders}


def regularisation_job(name, out):
    """The job of a table or figure of regularisations, as JSON."""
    made = regularisation_inputs()
    steps = [f"{folder}/steps.parquet" for folder in made.pop("trainings")]
    settings = experiment.regularisations()
    return table_job(name, out, {**made, "training": steps}, settings=settings)


def sweep_job(name):
    """The job of a sweep's table, as JSON."""
    sweep = config["sweeps"][name]
    parameter = sweep.get("parameter", "")
    values = {m: experiment.method(m).arguments.get(parameter) for m in sweep["methods"]}
    scores = expand(SCORES, selection=name, model=config["models"])
    arguments = {"values": values, "parameter": parameter, "models": config["models"]}
    return table_job("sweep", f"results/tables/{name}", {"scores": scores}, **arguments)


def frames_for(table, *kinds):
    """Frames of all selections that a table is made of, by kind."""
    selections = registry.tables[table].selections
    for selection in selections:
        insist(experiment.check_selection, selection, table)
    parts = [frames_of(selection, *kinds) for selection in selections]
    return {kind: list(dict.fromkeys(f for part in parts for f in part[kind])) for kind in kinds}


def runs_job(name, out, kind=None, **arguments):
    """The job of a table or figure of all images in its selections, or of those of the base and of
    the methods that train one kind of network; as JSON."""
    selections = registry.tables[name].selections
    models = experiment.selected_models(selections[0])
    runs = experiment.shown(selections, models[0])
    if kind:
        runs = {method: runs[method] for method in experiment.family(runs, kind)}
    ranks = {model: insist(experiment.ranks, model, runs) for model in models}
    inputs = frames_for(name, "scores", "images")
    return table_job(name, out, inputs, models=models, runs=runs, ranks=ranks, **arguments)


def nth_model(table, n):
    """The config's n-th model, from 0, which a figure is about."""
    if n >= len(config["models"]):
        refuse(f"{config_files}: {table} shows model {n + 1}, there are {len(config['models'])}")
    return config["models"][n]


def frames_of_model(model):
    """Image and score frames of the config's own methods on one model."""
    benchmark = config["benchmark"]
    scores = expand(SCORES, selection=benchmark, model=model)
    return {"images": image_frames(benchmark, model), "scores": scores}


def noises_job(name, n, n_images=3):
    """The job of a grid of base and noise network from several noises on the n-th model, as JSON."""
    model = nth_model(name, n)
    shown = columns([model], ["base", "hypernoise"], n_images=n_images)
    return table_job(name, f"results/figures/{name}", frames_of_model(model), columns=shown)


def columns(models, methods, steps=(), n_images=1):
    """Columns of a grid: models, within them noises, within them methods."""
    return [
        dict(model=model, method=method, steps=count, image_index=index)
        for model in models
        for index in range(n_images)
        for method in methods
        for count in steps or [experiment.steps(model)]
    ]


def grid_job(name, methods, **arguments):
    """The job of a grid of some methods in the figure's one selection, as JSON."""
    (selection,) = registry.tables[name].selections
    chosen = experiment.selection(selection)
    shown = columns(experiment.selected_models(selection), methods, chosen.steps)
    inputs = frames_for(name, "images", "scores")
    return table_job(name, f"results/figures/{name}", inputs, columns=shown, **arguments)


def metric_of(table):
    """What the benchmark of a table's images calls its score."""
    benchmark = experiment.selection(registry.tables[table].selections[0]).benchmark
    return registry.benchmarks[benchmark].metric


def captioned(file, name, category, labels):
    """A file for the report, with the text of workflows/report/NAME.rst if there is one."""
    text = f"{name}.rst"
    caption = f"../report/{text}" if Path("workflows/report", text).is_file() else None
    return report(file, caption=caption, category=category, labels=labels)


def table_files(name, **labels):
    """The files of a table: every format, the rows that it is made of, and a page, which the report
    shows if labels say what it is."""
    stem = f"results/tables/{name}"
    files = {kind: f"{stem}.{kind}" for kind in ("csv", "md", "tex", "parquet", "html")}
    if labels:
        files["html"] = captioned(files["html"], name, "Tables", labels)
    return {**files, "rows": f"{stem}.rows.parquet"}


def figure_files(name, caption="", category="Figures", **labels):
    """The files of a figure: the report shows the png, with the labels and a caption, which has the
    figure's name if it is given no other."""
    stem = f"results/figures/{name}"
    png = captioned(f"{stem}.png", caption or name, category, labels)
    return {"png": png, "pdf": f"{stem}.pdf"}


def table_job(name, out, inputs, **arguments):
    """The job of a table or figure, as JSON."""
    spec = registry.tables[name]
    spec = replace(spec, arguments={**spec.arguments, **arguments})
    return to_json(TableJob(spec, {kind: tuple(files) for kind, files in inputs.items()}, out))
