"""``python -m harness card FOLDER``: a trained network as a folder for the hub, with its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import HfApi
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.base.atomic_files import write_text
from harness.build.descriptions import describe, publish
from harness.experiment.jobs import TrainJob
from harness.experiment.validation import checked
from harness.results import frames
from harness.results.training_folder import CHECKPOINTS, STEPS_FILE
from hypernoise.networks.description import Description, read_description
from hypernoise.weights.hub import explained
from hypernoise.weights.pins import REPOSITORY

_TEMPLATE = "card.md"
_TEMPLATES = Path(__file__).parents[1] / "report" / "templates"
TRAINING_FILE, GRID_FILE = "training.json", "grid.png"


def run(
    network: Path, out: Path, results: Path | None, base: str, push: str, public: bool, dry: bool
) -> None:
    """Write a folder for the hub: network, description, model card, training, table and grid.

    Args:
        network: a training's folder, or one of its checkpoints.
        out: gets the files; it must not be there, or be empty.
        results: the run's folder, whose table 1 and grid are shown; that which the training lies in
            without one.
        base: hub repository to name as the base, where it was trained on a folder of this machine.
        push: hub repository to write to, which is made where it is not there; empty for none.
        public: make that repository a public one; else only its owner sees it.
        dry: say what would be pushed, and push nothing.

    Raises:
        FileNotFoundError: there is no training in the folder.
        ValueError: the base is a folder of this machine, ``out`` is not empty, or the hub refuses.
    """
    training = network.parents[1] if network.parent.name == CHECKPOINTS else network
    if not (training / STEPS_FILE).is_file():
        raise FileNotFoundError(f"no training in {training}: {STEPS_FILE} is missing")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already, and not empty: name another with --out")
    if push and not REPOSITORY.fullmatch(push):
        raise ValueError(f"{push!r} is no repository of the hub: OWNER/NAME")
    record = frames.read_provenance(training / STEPS_FILE)
    job = checked(dict(record["spec"]), TrainJob, f"job of {training / STEPS_FILE}")
    told = read_description(network) or describe(job, step_of(network, training))
    if base:
        told = told.model_copy(update={"base": base})
    if Path(told.base).is_absolute():
        raise ValueError(
            f"the network was trained on {told.base}, which only this machine has: --base "
            "OWNER/NAME says what that is in the hub"
        )
    publish(network, out, told, for_diffusers=True)
    if results is None and len(training.parts) > 4:
        results = training.parents[3]
    shown = {} if results is None else shown_in(results, told, out)
    facts = {
        "options": dict(job.options),
        "method": {"name": job.method.name, "version": job.method.version},
        "reward": {"name": job.reward.name, "version": job.reward.version},
        "prompts": job.train_prompts.target,
        "commit": record["commit"],
        "packages": record["packages"],
        "written": record["written"],
    }
    write_text(out / TRAINING_FILE, json.dumps(facts, indent=1, sort_keys=True) + "\n")
    write_text(out / "README.md", card(told, facts, shown, push or "OWNER/NAME"))
    files = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    print(f"{out}: {told.what} for {told.base}, step {told.step}")
    print("\n".join(f"  {name}  {size:,} bytes" for name, size in files.items()))
    if push and dry:
        print(f"would be pushed to {push} ({'public' if public else 'private'}); nothing was")
    elif push:
        with explained(push, "main"):
            api = HfApi()
            api.create_repo(push, private=not public, exist_ok=True)
            api.upload_folder(repo_id=push, folder_path=str(out), commit_message=told.what)
        print(f"pushed to {push}")


def step_of(network: Path, training: Path) -> int:
    """The optimizer step of a network: of a checkpoint, or of the one that the training kept."""
    if network != training:
        return int(network.name.removeprefix("step_"))
    rows = frames.read(training / STEPS_FILE, frames.TRAINING)
    kept = rows.loc[rows["kind"] == "kept", "step"]
    return int(kept.iloc[-1] if len(kept) else rows["step"].max())


def shown_in(results: Path, told: Description, out: Path) -> dict[str, str]:
    """What a run shows of a model: its table's rows of base and network, in Markdown, and its grid,
    which is copied."""
    shown: dict[str, str] = {}
    table, grid = results / "tables" / "table1.md", results / "figures" / f"grid_{told.model}.png"
    if table.is_file():
        lines = table.read_text(encoding="utf-8").splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        rows = [
            line
            for line, own in zip(lines, cells, strict=True)
            if own[:2] in ([told.model, "base"], [told.model, told.method])
        ]
        if len(rows) > 1:
            shown["table"] = "\n".join([*lines[:2], *rows])
    if grid.is_file():
        shutil.copyfile(grid, out / GRID_FILE)
        shown["grid"] = GRID_FILE
    return shown


def card(
    told: Description, facts: Mapping[str, Any], shown: Mapping[str, str], repository: str
) -> str:
    """The model card: YAML for the hub, and what people read."""
    front = {
        "base_model": told.base,
        "base_model_relation": "adapter",
        "library_name": "diffusers",
        "license": told.base_licence.lower() or "unknown",
        "pipeline_tag": "text-to-image",
        "tags": list(dict.fromkeys(["hypernoise", "lora", told.kind, f"reward:{told.reward}"])),
    }
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template(_TEMPLATE).render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        told=told,
        facts=facts,
        shown=shown,
        repository=repository,
    )
