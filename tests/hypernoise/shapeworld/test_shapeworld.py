"""The embedded world: captions, scenes, detector, shipped weights."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, SanaSprintPipeline, StableDiffusionPipeline

from harness.benchmarks.geneval_metadata import check_metadata
from harness.benchmarks.shapeworld import ShapeWorld, judge_image
from hypernoise.models.protocol import Generator
from hypernoise.models.sana import SanaSprint
from hypernoise.noise import batch_noise, image_seed, seeded_generator
from hypernoise.rewards.matcher import ShapeMatcher
from hypernoise.rewards.protocol import Reward
from hypernoise.rewards.shape_judge import ShapeJudge
from hypernoise.shapeworld import pretraining
from hypernoise.shapeworld.architectures import BUILDERS, MAX_TOKENS
from hypernoise.shapeworld.captions import (
    COUNTING,
    HELD_OUT,
    PER_TASK,
    PREFIXES,
    SHAPES,
    SPLITS,
    TASKS,
    Caption,
    Subject,
    captions,
    vocabulary,
)
from hypernoise.shapeworld.detector import detect
from hypernoise.shapeworld.matcher_network import MAX_WORDS, word_ids
from hypernoise.shapeworld.matching import edited
from hypernoise.shapeworld.recipes import RECIPES
from hypernoise.shapeworld.scenes import SIZE_PX, Placed, Scene, lay_out, noise_features, render

WEIGHTS = Path(pretraining.__file__).parent / "weights"
PIPELINES = {
    "tiny_sd": StableDiffusionPipeline,
    "tiny_sana": SanaSprintPipeline,
    "tiny_flux": FluxPipeline,
}
MAX_BYTES = 6_000_000
N_PER_TASK = 400
N_IMAGES = 4


def test_no_caption_is_in_two_splits() -> None:
    texts = {split: {caption.text for caption in captions(split)} for split in SPLITS}
    assert all(not texts[a] & texts[b] for a, b in combinations(SPLITS, 2))


def test_no_meaning_is_in_two_splits() -> None:
    meanings = {split: {caption.meaning for caption in captions(split)} for split in SPLITS}
    assert all(not meanings[a] & meanings[b] for a, b in combinations(SPLITS, 2))


def test_captions_of_one_meaning_have_the_same_geneval_verdict_on_every_scene() -> None:
    by_meaning = defaultdict(list)
    for caption in captions("validation"):
        by_meaning[caption.meaning].append(caption)
    n_judged = 0
    features = noise_features(batch_noise(3, [("scene", i) for i in range(8)], (4, 8, 8))).numpy()
    for wordings in by_meaning.values():
        others = [c for c in captions("validation") if c.task == wordings[0].task][:6]
        scenes = [lay_out(c, f) for c in (*wordings, *others) for f in features[:2]]
        for image in map(render, scenes):
            verdicts = {judge_image(image, caption.metadata).correct for caption in wordings}
            assert len(verdicts) == 1, wordings
            n_judged += 1
    assert n_judged > 100


def test_wordings_of_one_wish_mean_the_same_and_other_wishes_do_not() -> None:
    square, triangle = Subject("square"), Subject("triangle")
    red, blue = Subject("square", "red"), Subject("triangle", "blue")

    def meaning(*subjects: Subject, relation: str | None = None, task: str = "position") -> str:
        return Caption("", "", task, subjects, relation).meaning

    above = meaning(triangle, square, relation="above")
    assert above == meaning(square, triangle, relation="below")
    assert above != meaning(square, triangle, relation="above")
    assert above != meaning(triangle, square, relation="left of")
    left = meaning(triangle, square, relation="left of")
    assert left == meaning(square, triangle, relation="right of")
    assert meaning(red, blue) == meaning(blue, red)
    assert meaning(red, blue) != meaning(replace(red, color="blue"), replace(blue, color="red"))
    assert meaning(Subject("ring", count=2)) != meaning(Subject("ring", count=3))
    assert meaning(square, task="colors") != meaning(square, task="single_object")


def test_the_evaluation_weighs_tasks_alike_and_has_every_meaning_in_several_wordings() -> None:
    for split, n in PER_TASK.items():
        chosen = captions(split)
        assert len({caption.prompt_id for caption in chosen}) == len(chosen)
        assert all(sum(c.task == task for c in chosen) == n for task in TASKS)
    chosen = captions("evaluation")
    numbers = sum(list(of.values()).count("evaluation") for of in COUNTING.values())
    held_out = {task: n for task, (_, n) in HELD_OUT.items()} | {"counting": numbers}
    assert held_out.keys() == set(TASKS)
    for task, n_meanings in held_out.items():
        own = [caption for caption in chosen if caption.task == task]
        assert len({caption.meaning for caption in own}) == n_meanings
        assert len({caption.prefix for caption in own}) == len(PREFIXES)


def test_every_word_is_trained_and_every_split_counts_to_four() -> None:
    seen = {
        word for split in ("train", "reward") for c in captions(split) for word in c.text.split()
    }
    assert seen == set(vocabulary())
    for split in SPLITS:
        numbers = {c.subjects[0].count for c in captions(split) if c.task == "counting"}
        assert numbers == {2, 3, 4}


def test_every_split_has_every_task_and_valid_geneval_metadata() -> None:
    for split in SPLITS:
        assert {caption.task for caption in captions(split)} == set(TASKS)
        for caption in captions(split):
            check_metadata(caption.metadata)


def test_an_unknown_split_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"'test'.*evaluation"):
        captions("test")


@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS)
def test_tokenizers_have_one_token_for_every_word(builder: object) -> None:
    pipeline = builder()  # type: ignore[operator]
    names = [name for name in pipeline.components if name.startswith("tokenizer")]
    for tokenizer in (getattr(pipeline, name) for name in names):
        for word in vocabulary():
            assert len(tokenizer(f"a {word}", add_special_tokens=False).input_ids) == 2, word


@pytest.mark.parametrize("task", TASKS)
def test_the_detector_is_right_on_rendered_truth(task: str) -> None:
    rng = np.random.default_rng(TASKS.index(task))
    members = [c for split in SPLITS for c in captions(split) if c.task == task]
    chosen = [members[i] for i in rng.integers(len(members), size=N_PER_TASK)]
    features = rng.standard_normal((N_PER_TASK, 4, 8, 8)).astype(np.float32)
    images = [render(lay_out(c, f)) for c, f in zip(chosen, features, strict=True)]
    right = [judge_image(i, c.metadata).correct for i, c in zip(images, chosen, strict=True)]
    assert np.mean(right) >= 0.995


def test_the_detector_names_shape_colour_and_place() -> None:
    scene = Scene((Placed("ring", "red", 10.0, 22.0),), (0.95, 0.95, 0.95))
    (found,) = detect(render(scene))
    x0, y0, x1, y1 = found.box
    assert (found.shape, found.color) == ("ring", "red")
    assert abs((x0 + x1) / 2 - 22) <= 1 and abs((y0 + y1) / 2 - 10) <= 1
    assert found.score > 0.99


def test_a_fading_object_is_detected_with_a_falling_score() -> None:
    scores = []
    for opacity in (1.0, 0.6, 0.3):
        scene = Scene((Placed("square", "blue", 14.0, 14.0, opacity),), (0.95, 0.95, 0.95))
        scores.append(max((found.score for found in detect(render(scene))), default=0.0))
    assert scores[0] > 0.99 and scores[1] < scores[0] and scores[2] < 0.3


def test_an_empty_image_has_no_objects_and_every_caption_fails_on_it() -> None:
    blank = np.full((3, 32, 32), 0.95, dtype=np.float32)
    assert detect(blank) == []
    prompts = ShapeWorld("evaluation").prompts()
    scored = ShapeWorld().score(np.stack([blank] * len(prompts)), prompts)
    assert not any(of_image["geneval_correct"].value for of_image in scored)


def test_all_shapes_stand_apart_from_one_another() -> None:
    for shape in SHAPES:
        scene = Scene((Placed(shape, "black", 16.0, 16.0),), (0.95, 0.95, 0.95))
        assert [found.shape for found in detect(render(scene))] == [shape]


def test_noise_features_have_unit_variance_whatever_the_grid() -> None:
    for side in (8, 16):
        features = noise_features(torch.randn(200, 4, side, side))
        assert features.shape[1:] == (4, 8, 8)
        assert abs(features.std().item() - 1) < 0.02


def test_a_hard_negative_differs_from_its_caption_and_keeps_the_task() -> None:
    rng = np.random.default_rng(0)
    for caption in captions("reward")[::10]:
        other = edited(caption, rng)
        assert other.task == caption.task
        own = {c.meaning for c in captions("reward") if c.task == caption.task}
        assert (other.meaning != caption.meaning) or own == {caption.meaning}
        assert len(other.text.split()) <= MAX_WORDS


def test_the_matcher_reads_nothing_that_means_what_another_split_does() -> None:
    rng = np.random.default_rng(0)
    foreign = {c.meaning for split in SPLITS if split != "reward" for c in captions(split)}
    for caption in captions("reward")[::3]:
        negative = edited(caption, rng)
        assert negative.meaning not in foreign
        assert negative.task == caption.task


def test_the_matcher_reads_a_plural_as_its_singular_and_a_mark() -> None:
    singular, two, three = word_ids(["a photo of a heart", "a photo of two hearts", "three moons"])
    assert two[4] == singular[4]
    assert (two[5], singular[5]) == (three[2], 0)


def test_the_matcher_refuses_words_that_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="giraffe"):
        word_ids(["a photo of a giraffe"])


@pytest.mark.parametrize("name", PIPELINES)
def test_shipped_generators_are_small_and_load_with_plain_from_pretrained(name: str) -> None:
    files = [file for file in (WEIGHTS / name).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= MAX_BYTES
    pipeline = PIPELINES[name].from_pretrained(WEIGHTS / name)
    assert type(pipeline) is PIPELINES[name]


@pytest.mark.parametrize("name", PIPELINES)
def test_the_shipped_recipe_is_the_one_in_the_code(name: str) -> None:
    record = json.loads((WEIGHTS / name / pretraining.RECIPE_FILE).read_text())
    assert record["recipe"] == json.loads(json.dumps(asdict(RECIPES[name])))


def evaluation_images(generator: Generator, steps: int = 1) -> np.ndarray:
    """Every image index in turn, each for all evaluation captions."""
    chosen = captions("evaluation")
    parts = []
    with torch.no_grad():
        conditioning = generator.encode([caption.text for caption in chosen])
        for index in range(N_IMAGES):
            keys = [(caption.prompt_id, index) for caption in chosen]
            noise = batch_noise(0, keys, generator.noise_shape)
            seeds = [image_seed(0, *key, "sampler") for key in keys]
            parts.append(generator.sample(noise, conditioning, steps, seeds))
    return torch.cat(parts).numpy()


def geneval_mean(images: np.ndarray) -> float:
    """Of :func:`evaluation_images`."""
    by_task = defaultdict(list)
    for image, caption in zip(images, captions("evaluation") * N_IMAGES, strict=True):
        by_task[caption.task].append(judge_image(image, caption.metadata).correct)
    return float(np.mean([np.mean(values) for values in by_task.values()]))


@pytest.fixture(scope="module")
def base_images() -> dict[str, np.ndarray]:
    drawn = {}
    for name, pipeline_class in PIPELINES.items():
        pipeline = pipeline_class.from_pretrained(WEIGHTS / name, dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        drawn[name] = evaluation_images(pretraining.generator_for(name, pipeline))
    return drawn


@pytest.mark.parametrize("name", PIPELINES)
def test_base_generators_are_recognisable_with_room_to_improve(
    name: str, base_images: dict[str, np.ndarray]
) -> None:
    assert 0.45 <= geneval_mean(base_images[name]) <= 0.80


def test_tiny_sana_holds_its_level_in_two_steps_and_most_of_it_in_four(
    base_images: dict[str, np.ndarray],
) -> None:
    generator = SanaSprint(
        weights=str(WEIGHTS / "tiny_sana"),
        size_px=SIZE_PX,
        max_tokens=MAX_TOKENS,
        human_instruction=False,
        intermediate_timestep=0.4,
    )
    one_step = geneval_mean(base_images["tiny_sana"])
    for steps, loss in {2: 0.05, 4: 0.15}.items():
        assert geneval_mean(evaluation_images(generator, steps)) >= one_step - loss


def test_pretraining_takes_the_steps_that_the_stock_sampler_takes(tiny_sana: SanaSprint) -> None:
    noise = batch_noise(0, [("a", 0), ("a", 1)], tiny_sana.noise_shape)
    conditioning = tiny_sana.encode(["a photo of a ring", "a photo of two hearts"])
    seeds = [3, 4]
    with torch.no_grad():
        sampled = tiny_sana.sample(noise, conditioning, 2, seeds)
        own = [seeded_generator(seed) for seed in seeds]
        fresh = torch.cat([torch.randn(1, *tiny_sana.noise_shape, generator=g) for g in own])
        angle = torch.full((2,), float(tiny_sana.intermediate_timestep or np.pi / 4))
        guess = pretraining.clean_latents(
            tiny_sana, noise, torch.full((2,), np.pi / 2), conditioning
        )
        assert torch.allclose(
            guess, pretraining.one_step_latents(tiny_sana, noise, conditioning), atol=1e-5
        )
        start = angle.cos()[0] * guess + angle.sin()[0] * fresh
        latents = pretraining.clean_latents(tiny_sana, start, angle, conditioning)
        vae = tiny_sana.pipeline.vae
        decoded = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
    # The pipeline's largest timestep is 1.57080, not pi / 2.
    assert torch.allclose((decoded / 2 + 0.5).clamp(0, 1), sampled, atol=1e-3)


def test_refined_samples_start_from_the_networks_own_guess_and_from_true_scenes(
    tiny_sana: SanaSprint,
) -> None:
    data = pretraining.Data.seeded(0)
    noise = data.noise((4, *tiny_sana.noise_shape))
    conditioning = tiny_sana.encode(["a photo of a ring"] * 4)
    target = torch.zeros_like(noise)
    known = pretraining.first_guess(tiny_sana, noise, target, conditioning, n_own=2)
    with torch.no_grad():
        guess = pretraining.one_step_latents(tiny_sana, noise, conditioning)
    assert torch.allclose(known[:2], guess[:2], atol=1e-5)
    assert torch.equal(known[2:], target[2:])
    assert torch.equal(
        pretraining.first_guess(tiny_sana, noise, target, conditioning, n_own=0), target
    )


@pytest.mark.parametrize(
    ("reward", "least"),
    [
        (ShapeMatcher(str(WEIGHTS / "matcher.safetensors")), 0.85),
        # The judge was never told what the detector says.
        (ShapeJudge(str(WEIGHTS / "matcher_judge.safetensors")), 0.75),
    ],
    ids=["matcher", "matcher_judge"],
)
def test_shipped_rewards_agree_with_the_detector_on_base_images(
    reward: Reward, least: float, base_images: dict[str, np.ndarray]
) -> None:
    chosen = captions("evaluation") * N_IMAGES
    features = reward.encode([caption.text for caption in chosen])
    scores, truth = [], []
    for images in base_images.values():
        with torch.no_grad():
            scores.append(reward.score(torch.from_numpy(images), features).numpy())
        pairs = zip(images, chosen, strict=True)
        truth += [float(judge_image(image, c.metadata).correct) for image, c in pairs]
    found, right = np.concatenate(scores), np.array(truth) == 1
    # How often a right image scores above a wrong one.
    assert (found[right][:, None] > found[~right][None]).mean() >= least
