"""``python -m harness card FOLDER``: a trained network as a folder for the hub, with its card."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import RepositoryNotFoundError
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.base.atomic_files import write_text
from harness.build.descriptions import describe, publish
from harness.experiment.jobs import TrainJob
from harness.experiment.validation import checked
from harness.results import frames, provenance
from harness.results.image_files import open_image
from harness.results.training_folder import CHECKPOINTS, NETWORK_FILES, STEPS_FILE
from hypernoise.models.families import FAMILIES, call_options
from hypernoise.networks.description import Description, read_description
from hypernoise.networks.diffusers_layout import DIFFUSERS_FILE
from hypernoise.weights.hub import explained
from hypernoise.weights.pins import AT_COMMIT, COMMIT, REPOSITORY, is_remote, sha256_of

_TEMPLATE = "card.md"
_TEMPLATES = Path(__file__).parents[1] / "report" / "templates"
TRAINING_FILE, GRID_FILE = "training.json", "grid.png"
#: Licences by the names that the hub gives them, which cards may have: others are "other".
_LICENCES = """
apache-2.0 mit openrail openrail++ bigscience-openrail-m creativeml-openrail-m bigcode-openrail-m
bigscience-bloom-rail-1.0 afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause c-uda isc
bsd-3-clause-clear cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0
cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 zlib wtfpl
cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 agpl-3.0 gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1
lgpl-3.0 mpl-2.0 unlicense gemma llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 unknown
deepfloyd-if-license"""


def run(
    network: Path, out: Path, results: Path | None, base: str, push: str, public: bool, dry: bool
) -> None:
    """Write a folder for the hub: network, description, model card, training, table and grid.

    Args:
        network: a training's folder, or one of its checkpoints.
        out: gets the files; it must not be there, or be empty.
        results: the run's folder, whose table 1 and grid are shown; that which the training lies in
            without one.
        base: hub repository and commit to name as the base, ``OWNER/NAME@COMMIT``, where it was
            trained on a folder of this machine.
        push: hub repository to write to, which is made where it is not there; empty for none.
        public: make that repository a public one; else only its owner sees it.
        dry: say what would be pushed, and push nothing.

    Raises:
        FileNotFoundError: there is no training in the folder.
        ValueError: the base or its LoRA is a file of this machine, ``out`` is not empty, the hub
            refuses, or has the repository already and shows it to others than it is to be shown to.
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
    told = in_hub(told, base)
    if push and not dry:
        check_visibility(push, public)
    publish(network, out, told, for_diffusers=True)
    if results is None and len(training.parts) > 4:
        results = training.parents[3]
    shown: dict[str, str] = {}
    if results is not None and network == training:
        shown = shown_in(results, told, out)
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
    text = card(told, facts, shown, push or "OWNER/NAME", script(told, job.model.steps, out))
    write_text(out / "README.md", text)
    files = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    print(f"{out}: {told.what} for {told.base}, step {told.step}")
    print("\n".join(f"  {name}  {size:,} bytes" for name, size in files.items()))
    if push and dry:
        print(f"would be pushed to {push} ({'public' if public else 'private'}); nothing was")
    elif push:
        with explained(push, "main"):
            # The hub's own check of the front matter.
            ModelCard(text).validate()
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


def in_hub(told: Description, base: str) -> Description:
    """A description whose base everybody has.

    Args:
        base: as of :func:`run`.

    Raises:
        ValueError: only this machine has the base, or the LoRA in it.
    """
    if base:
        at = AT_COMMIT.fullmatch(base)
        if at is None or not COMMIT.fullmatch(at["revision"]):
            raise ValueError(f"--base {base}: must be OWNER/NAME@COMMIT, a repository of the hub")
        told = told.model_copy(update={"base": at["weights"], "revision": at["revision"]})
    if not (REPOSITORY.fullmatch(told.base) and COMMIT.fullmatch(told.revision)):
        raise ValueError(
            f"the network was trained on {told.base}, which only this machine has: --base "
            "OWNER/NAME@COMMIT says what that is in the hub"
        )
    if told.base_lora and not is_remote(told.base_lora):
        raise ValueError(f"the base has the LoRA {told.base_lora}, which only this machine has")
    return told


def check_visibility(repository: str, public: bool) -> None:
    """Check that a repository is new, or seen by those who are to see it: a push does not change
    that.

    Raises:
        ValueError: others see it, or the hub is out of reach.
    """
    asked, found = ("public" if public else "private"), ""
    with explained(repository):
        try:
            found = "private" if HfApi().repo_info(repository).private else "public"
        except RepositoryNotFoundError:
            return
    if found != asked:
        remedy = "leave --public out" if public else "say --public"
        raise ValueError(
            f"{repository} is there already and is {found}, which a push leaves so: {remedy}, "
            "change it in the hub's settings, or name another"
        )


def shown_in(results: Path, told: Description, out: Path) -> dict[str, str]:
    """What a run shows of a network: its table's rows of base and network, in Markdown, and the
    grid with images of it, which is copied; or a ``note`` that there are none.

    Rows are those of methods that use the network as it is, which images' frames tell by its hash:
    not of a matched checkpoint, of another reward or seed, or of a search that goes on from it.
    """
    weights = sha256_of(out / NETWORK_FILES[1])
    drawn: dict[Path, tuple[str, ...]] = {}
    for path in sorted(results.glob(f"images/*/{told.model}/*/*/*/images.parquet")):
        record = frames.read_provenance(path)
        method = (record.get("spec") or {}).get("method") or {}
        plain = method.get("state") == "final" and not method.get("checkpoint")
        if plain and not method.get("search") and weights in (record.get("inputs") or {}).values():
            row = frames.read(path, frames.IMAGES).iloc[0]
            drawn[path] = (*(str(row[name]) for name in ("method", "reward", "steps")),)
    shown: dict[str, str] = {}
    table, grid = results / "tables" / "table1.md", results / "figures" / f"grid_{told.model}.png"
    if table.is_file():
        lines = table.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        rows = [dict(zip(cells[0], row, strict=True)) for row in cells]
        wanted = {("base", "", steps) for *_, steps in drawn.values()} | {*drawn.values()}
        kept = [
            (line, row)
            for line, row in zip(lines, rows, strict=True)
            if row["model"] == told.model and (row["method"], row["reward"], row["steps"]) in wanted
        ]
        if any(row["reward"] for _, row in kept):
            shown["table"] = "\n".join([*lines[:2], *(line for line, _ in kept)])
    if grid.is_file():
        with open_image(grid) as image:
            inputs = provenance.parse(image.info.get("Description", "")).get("inputs") or {}
        names = {path.relative_to(results).as_posix() for path in drawn}
        if any(name.endswith(f"/{own}") for name in inputs for own in names):
            shutil.copyfile(grid, out / GRID_FILE)
            shown["grid"] = GRID_FILE
    if table.is_file() and "table" not in shown:
        shown["note"] = f"The run's table has no row of this network at step {told.step}."
        print(shown["note"])
    return shown


def script(told: Description, steps: int, folder: Path) -> dict[str, Any]:
    """What the card's script is made of: how the base is loaded and called.

    Args:
        steps: sampling steps of the model.
        folder: that is written, with weights in diffusers' layout where the pipeline reads them.

    Returns:
        ``call``, options of the pipeline's call; ``family``, the class that builds a base that is
        more than a repository (a LoRA, a sampler, another transformer), and its ``arguments``; or
        a ``note`` in place of all where a pipeline takes no such network.
    """
    if told.pipeline not in FAMILIES:
        return {"note": f"`{told.pipeline}` is no pipeline of this project: `family=` is needed."}
    if not (told.moves_noise or (folder / DIFFUSERS_FILE).is_file()):
        return {"note": f"`{told.pipeline}` loads no LoRA: its weights are in peft's layout."}
    family = FAMILIES[told.pipeline]
    module, _, name = family.target.partition(":")
    of_call = {"dtype", "human_instruction", *family.arguments, *family.passed}
    more = {key: value for key, value in told.arguments.items() if key not in of_call}
    lora = {"lora": told.base_lora} if told.base_lora else {}
    call = call_options(told.pipeline, told.size_px, steps, told.arguments)
    return {
        "call": ", ".join(f"{key}={value!r}" for key, value in call.items()),
        "family": {"module": module, "name": name} if lora or more else None,
        "arguments": lora | more,
    }


def card(
    told: Description,
    facts: Mapping[str, Any],
    shown: Mapping[str, str],
    repository: str,
    shown_script: Mapping[str, Any],
) -> str:
    """The model card: YAML for the hub, and what people read."""
    licence = told.base_licence.lower() or "unknown"
    front = {
        "base_model": told.base,
        "base_model_relation": "adapter",
        "library_name": "diffusers",
        "license": licence if licence in _LICENCES.split() else "other",
        "pipeline_tag": "text-to-image",
        "tags": list(dict.fromkeys(["hypernoise", "lora", told.kind, f"reward:{told.reward}"])),
    }
    if front["license"] == "other":
        front["license_name"] = re.sub(r"[^a-z0-9.]+", "-", licence).strip("-")
        front["license_link"] = f"https://huggingface.co/{told.base}"
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template(_TEMPLATE).render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        told=told,
        facts=facts,
        shown=shown,
        repository=repository,
        script=shown_script,
    )
