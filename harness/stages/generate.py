"""Generate a benchmark's images with one method, and note what each of them cost.

An image's noise follows from experiment seed, prompt and index alone, so methods are compared on
the same noise, and an interruption changes no image, nor any batch. Another batch size changes some
by rounding: by 1 of 255 levels; along gradients (ReNO) into other images, whose rows say the size.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from PIL import Image

from harness.base.errors import SpecError
from harness.base.import_strings import resolve
from harness.benchmarks.given_images import GivesImages
from harness.benchmarks.protocol import Prompt
from harness.build import prompt_cuts
from harness.build.devices import default_device
from harness.build.encodings import prepare
from harness.build.generators import build_generator, check_generator, generator_files
from harness.build.methods import (
    build_method,
    check_adapter,
    check_method,
    check_method_for,
    words_prompts,
)
from harness.build.prompt_cuts import Cuts, Known, encode_counted, lengths_to, of_texts
from harness.build.prompts import load_prompts, meaning_of, prompt_texts
from harness.build.rewards import build_reward, check_reward_of, reward_files
from harness.experiment.cuts import shard_of
from harness.experiment.identity import batch_size_counts, job_hash
from harness.experiment.jobs import PNG_FOLDER, GenerateJob
from harness.experiment.methods import check_sampling
from harness.experiment.weight_files import given_images, method_files
from harness.results import frames, provenance
from harness.results.image_files import decoded, is_whole_png, upright
from harness.results.resume import Work
from harness.results.weight_hashes import hashes
from harness.stages.image_shards import joined, publish_shard, told
from harness.stages.trajectories import trajectory_rows
from hypernoise.batches import Batches, unfinished
from hypernoise.durable_files import sync_all
from hypernoise.images import to_uint8
from hypernoise.methods.protocol import Generated, Method, Request, images_of
from hypernoise.models.protocol import Conditioning, Generator, encode_in_chunks
from hypernoise.noise import draws
from hypernoise.progress import Progress
from hypernoise.prompt_lengths import Lengths
from hypernoise.rewards.protocol import Features, Reward

#: Next to the frame of the images; empty where the method scores none.
TRAJECTORIES_FILE = "trajectories.parquet"


@dataclass(frozen=True)
class Item:
    """One image to make.

    Attributes:
        row: its prompt's row in the encodings.
        given: the file, checked, of an image that another tool has made.
    """

    prompt: Prompt
    row: int
    image_index: int
    given: Path | None = None

    @property
    def path(self) -> str:
        """Where its PNG is, relative to the frame's folder."""
        return f"{PNG_FOLDER}/{self.prompt.prompt_id}_{self.image_index:03d}.png"


@dataclass(frozen=True)
class Made:
    """What a finished image cost; kept in the work folder until the frame is written.

    Attributes:
        batch_size: images that were made together.
        scored: reward and prompt of every image that the method scored on its way, in their order;
            NaN where an attempt gave no image.
        lengths: of its prompt, and of what the method worded.
    """

    path: str
    nfe: float
    reward_calls: float
    backward_passes: float
    batch_size: int
    scored: Sequence[tuple[float, str]]
    lengths: Known


@dataclass(frozen=True)
class Setup:
    """Everything that makes images: built once, used for every batch.

    Attributes:
        lengths: of the prompts; wordings of the method are added as they are encoded.
    """

    generator: Generator
    method: Method
    reward: Reward | None
    conditioning: Conditioning
    features: Features | None
    device: str
    lengths: Known = field(default_factory=dict)

    def make(self, job: GenerateJob, items: Sequence[Item]) -> Generated:
        """What the job's method makes of some items."""
        return images_of(self.method, self.request(items, job.seed, job.steps))

    def request(self, items: Sequence[Item], seed: int, steps: int) -> Request:
        """What the method is asked for to make some items, each from its own noise."""
        rows = [item.row for item in items]
        keys = [(item.prompt.prompt_id, item.image_index) for item in items]
        noise, seeds = draws(seed, keys, self.generator.noise_shape, self.device)
        return Request(
            self.generator,
            self.conditioning.rows(rows).to(self.device),
            noise,
            seeds,
            steps,
            self.reward,
            None if self.features is None else self.features.rows(rows),
        )


def run(job: GenerateJob) -> None:
    """Make the images of a job that are not made yet, then its frame.

    Raises:
        ValueError, FileNotFoundError: the job cannot be carried out (checked first), or an
            image is not finite.
        torch.OutOfMemoryError: a single image does not fit; batches are halved until they do.
    """
    torch.set_num_threads(job.threads)
    items = check(job)
    texts = prompt_texts(item.prompt for item in items if item.image_index == 0)
    weights = hashes(job.weights)
    searched = job.searched
    inputs = [*generator_files(job.model), *(reward_files(searched) if searched else ())]
    inputs += [job.adapter] if job.adapter else method_files(job.method)
    work = Work(job.work, job_hash(job, inputs, texts), job.out)
    if work.is_done:
        return
    (work.folder / PNG_FOLDER).mkdir(exist_ok=True)
    names = {entry.name for entry in fields(Made)}
    # Another version of this module may have kept something else.
    found = [Made(**row) for row in work.rows() if row.keys() == names]
    made = {one.path: one for one in found if is_whole_png(work.folder / one.path)}
    made |= {row["path"]: Made(**row) for row in joined(job.cut.joins, work.folder)}
    facts: dict[str, Any] = {"weights": weights}
    sizes = {path: one.batch_size for path, one in made.items()}
    runs = unfinished(items, lambda item: sizes.get(item.path, 0), job.batch_size)
    missing = [item for run in runs for item in run]
    if foreign := [item for item in missing if item.given]:
        made |= {one.path: one for one in _taken(foreign, work.folder)}
    elif missing:
        setup = set_up(job, items)
        for component, known in setup.lengths.items():
            prompt_cuts.warn(component, prompt_cuts.cuts(known, _texts(items)))
        before = (sizes[item.path] for item in items[: items.index(missing[0])])
        size = min(before, default=job.batch_size)  # Larger ones had no room.
        for one in _generate(job, setup, runs, size, work, done=len(items) - len(missing)):
            made[one.path] = one
    if job.cut.shard:
        publish_shard(job.out, [asdict(made[item.path]) for item in items], work.folder, weights)
        work.remove()
        return
    facts |= told(job.cut.joins)
    if counted := _cuts(job, items, made):
        facts["cut_prompts"] = counted
    _publish(job, [(item, made[item.path]) for item in items], work.folder, facts)
    work.remove()


def check(job: GenerateJob) -> list[Item]:
    """Check a job without loading any network; returns the images that it asks for.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    items = check_ahead(job)
    check_adapter(job.method, job.adapter)
    return items


def check_ahead(job: GenerateJob) -> list[Item]:
    """As :func:`check`, for a job whose network may be yet to be trained."""
    check_method(job.method, job.reward)
    searched = job.searched
    prompts = load_prompts(job.benchmark.prompts)
    given: dict[tuple[str, int], Path] = {}
    if given_images(job.method):
        method = resolve(job.method.target)(**job.method.arguments)
        if not isinstance(method, GivesImages):
            raise SpecError(f"{job.method.file}: {job.method.target} has no files to give")
        given = method.files(prompts, job.benchmark.n_images, job.model.size_px)
    else:
        check_generator(job.model)
        check_method_for(job.method, job.model)
        check_sampling(job.method, job.steps, f"generate with {job.model.name}")
    if searched is not None:
        check_reward_of(searched, job.model)
    items = [
        Item(prompt, row, index, given.get((prompt.prompt_id, index)))
        for row, prompt in enumerate(prompts)
        for index in range(job.benchmark.n_images)
    ]
    return numbered(shard_of(items, job.cut.shard, job.batch_size)) if job.cut.shard else items


def numbered(items: Sequence[Item]) -> list[Item]:
    """Some items, whose rows are those of encodings of their prompts alone."""
    numbers = {row: new for new, row in enumerate(dict.fromkeys(item.row for item in items))}
    return [replace(item, row=numbers[item.row]) for item in items]


def set_up(job: GenerateJob, items: Sequence[Item]) -> Setup:
    """Load what a job needs, and encode its prompts: each once."""
    device = default_device()
    generator = build_generator(job.model, device)
    method = build_method(job.method, generator, job.adapter)
    texts = list({item.row: item.prompt.text for item in items}.values())
    reward = features = None
    lengths: dict[str, Mapping[str, Lengths]] = {}
    searched = job.searched
    if searched is not None:
        reward = build_reward(searched, device)
        features = encode_in_chunks(reward.encode, texts)
        lengths[f"reward {searched.name}"] = lengths_to(reward, texts)
    prepare(generator, texts, keep_encoders=words_prompts(job.method))
    conditioning, lengths[f"model {job.model.name}"] = encode_counted(generator, texts)
    return Setup(generator, method, reward, conditioning, features, device, lengths)


def make_again(job: GenerateJob, chosen: Sequence[Item]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Some images of a job: their rows, and their pixels [H, W, 3] as they were written.

    Raises:
        ValueError, FileNotFoundError: as :func:`run`.
    """
    if any(item.given for item in chosen):
        with TemporaryDirectory() as folder:
            Path(folder, PNG_FOLDER).mkdir()
            for item, one in zip(chosen, _taken(chosen, Path(folder)), strict=True):
                yield _row(job, item, one), decoded(str(Path(folder, item.path)))
        return
    items = numbered(chosen)
    make = partial(set_up(job, items).make, job)
    for batch, made in Batches(job.batch_size, f"make {job.method.name} again").run(items, make):
        of_batch = zip(batch, _finished(batch, made, {}), to_uint8(made.images), strict=True)
        yield from ((_row(job, item, one), pixels) for item, one, pixels in of_batch)


def _taken(items: Sequence[Item], folder: Path) -> Iterator[Made]:
    """Images of another tool, as PNG in a folder: what they cost nobody knows."""
    for item in items:
        Image.fromarray(upright(str(item.given))).save(folder / item.path)
        yield Made(item.path, math.nan, math.nan, math.nan, batch_size=1, scored=(), lengths={})


def _generate(
    job: GenerateJob, setup: Setup, runs: Sequence[Sequence[Item]], size: int, work: Work, done: int
) -> Iterator[Made]:
    name = f"generate {job.benchmark.name} with {job.model.name} {job.method.name}"
    make, n_all = partial(setup.make, job), done + sum(map(len, runs))
    with Progress(name, n_all, "images", done) as progress:
        for batch, made in Batches(size, name).run_each(runs, make):
            try:
                pixels = to_uint8(made.images)
            except ValueError as error:
                first = batch[0].prompt.prompt_id
                raise ValueError(f"{name}, prompt {first!r}: {error}") from error
            for item, image in zip(batch, pixels, strict=True):
                Image.fromarray(image).save(work.folder / item.path)
            finished = _finished(batch, made, setup.lengths)
            work.add([asdict(one) for one in finished], [work.folder / i.path for i in batch])
            yield from finished
            progress.update(len(batch))
            del made  # The next batch needs its memory.


def _finished(items: Sequence[Item], made: Generated, lengths: Known) -> list[Made]:
    """What is kept of each image of a batch."""
    values = [[]] * len(items) if made.trajectory is None else made.trajectory.tolist()
    given = [[item.prompt.text] * len(own) for item, own in zip(items, values, strict=True)]
    prompts = given if made.prompts is None else made.prompts
    each = made.each or [made.spent] * len(items)
    return [
        Made(
            path=item.path,
            nfe=float(spent.nfe),
            reward_calls=float(spent.reward_calls),
            backward_passes=float(spent.backward_passes),
            batch_size=len(items),
            scored=list(zip(own, texts, strict=True)),
            lengths=of_texts(lengths, (item.prompt.text, *texts)),
        )
        for item, spent, own, texts in zip(items, each, values, prompts, strict=True)
    ]


def _texts(items: Sequence[Item]) -> dict[str, str]:
    """Id -> text of the prompts."""
    return {item.prompt.prompt_id: item.prompt.text for item in items}


def _cuts(job: GenerateJob, items: Sequence[Item], made: Mapping[str, Made]) -> dict[str, Cuts]:
    """Component -> which prompts it cut; which wordings of the method, as far as there are some.

    All of it is from what is kept of each image, so that a job that was killed knows it, too.
    """
    known = prompt_cuts.together(made[item.path].lengths for item in items)
    found = {
        component: prompt_cuts.cuts(lengths, _texts(items)) for component, lengths in known.items()
    }
    scored = ((item.prompt.text, text) for item in items for _, text in made[item.path].scored)
    wordings = {text: text for given, text in scored if text not in (given, "")}
    # Rewards compare with the prompts that were given.
    if wordings and (model := f"model {job.model.name}") in known:
        own = found[f"{model}, wordings"] = prompt_cuts.cuts(known[model], wordings)
        prompt_cuts.warn(f"{model}, wordings", own)
    return found


def _row(job: GenerateJob, item: Item, made: Made) -> dict[str, Any]:
    return {
        "model": job.model.name,
        "method": job.method.name,
        "reward": job.reward.name if job.reward else "",
        "training_seed": job.method.training_seed,
        "benchmark": job.benchmark.name,
        "prompt_id": item.prompt.prompt_id,
        "prompt_meaning": meaning_of(item.prompt),
        "task": item.prompt.task,
        "image_index": item.image_index,
        "seed": frames.NO_SEED if item.given else job.seed,
        "steps": job.steps,
        "prompt": item.prompt.text,
        "metadata": item.prompt.metadata_text,
        "path": item.path,
        "nfe": made.nfe,
        "reward_calls": made.reward_calls,
        "backward_passes": made.backward_passes,
        "batch_size": float(made.batch_size) if batch_size_counts(job.method) else math.nan,
    }


def _publish(
    job: GenerateJob,
    images: Sequence[tuple[Item, Made]],
    made: Path,
    facts: Mapping[str, Any],
) -> None:
    # The PNGs stay in the work folder until the frame exists: a kill in between loses nothing.
    out = Path(job.out)
    folder = out.parent / PNG_FOLDER
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    rows, attempts = [], []
    for item, one in images:
        try:
            os.link(made / item.path, out.parent / item.path)
        except OSError:
            shutil.copyfile(made / item.path, out.parent / item.path)
        rows.append(_row(job, item, one))
        attempts += trajectory_rows(rows[-1], one.scored)
    sync_all(folder)
    trajectories = pd.DataFrame(attempts, columns=frames.TRAJECTORIES.names)
    searches = out.with_name(TRAJECTORIES_FILE)
    frames.write(trajectories, searches, frames.TRAJECTORIES, job, **facts)
    outputs = {path.name: provenance.digest(path) for path in (folder, searches)}
    frames.write(pd.DataFrame(rows), out, frames.IMAGES, job, **facts, outputs=outputs)
