"""Generating: an image depends on its own identity only, and nothing finished is lost."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness_toys
import numpy as np
import pandas as pd
import pytest
import torch
from harness_toys import (
    BENCHMARK,
    METHOD,
    MODEL,
    PROMPTS,
    REWARD,
    ToyGenerator,
    ToyMethod,
    damage,
    generate_job,
    made_images,
    one_weight_file,
    pixels,
)
from PIL import Image
from toys import build_generator

from harness.experiment.components import BenchmarkSpec, MethodSpec, ModelSpec
from harness.results import frames
from harness.results.resume import Work
from harness.stages import generate
from hypernoise.methods.protocol import Spent
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.noise import image_noise, image_seed


@pytest.fixture(autouse=True)
def _counts() -> Iterator[None]:
    harness_toys.reset()
    yield
    harness_toys.reset()


def method(**arguments: Any) -> MethodSpec:
    return dataclasses.replace(METHOD, arguments=arguments)


def interrupted(folder: Path, **changes: Any) -> None:
    """Run a job that is killed when its second batch begins: four of six images are made."""
    ToyMethod.lives = 1
    with pytest.raises(KeyboardInterrupt):
        made_images(folder, **changes)
    harness_toys.reset()


def n_made() -> int:
    """Images that methods have made since the counts were reset."""
    return sum(size for _, size in ToyMethod.calls)


def test_each_image_comes_from_the_noise_of_its_seed_prompt_and_index(tmp_path: Path) -> None:
    out = Path(made_images(tmp_path))
    for row in frames.read(out, "images").itertuples():
        noise = image_noise(7, str(row.prompt_id), int(row.image_index), (3, 4, 4))
        shade = len(str(row.prompt)) / 50
        expected = (torch.sigmoid(noise + shade) * 255).round().byte().permute(1, 2, 0)
        found = np.asarray(Image.open(out.parent / str(row.path)))
        assert np.array_equal(found, expected.numpy())


def test_one_row_per_image_says_what_it_is_and_what_it_cost(tmp_path: Path) -> None:
    table = frames.read(made_images(tmp_path, steps=2), "images")
    first = table.iloc[0].to_dict()
    assert pd.isna(first.pop("training_seed"))
    assert first == {
        "model": "toy_model",
        "method": "toy_method",
        "reward": "",
        "benchmark": "toy_benchmark",
        "prompt_id": "toy-0",
        "prompt_meaning": "toy-0",
        "task": "toy",
        "image_index": 0,
        "seed": 7,
        "steps": 2,
        "prompt": PROMPTS[0],
        "metadata": '{"number": 0}',
        "path": "png/toy-0_000.png",
        "nfe": 6.0,
        "reward_calls": 2.0,
        "backward_passes": 1.0,
        "batch_size": 4.0,
    }
    assert list(zip(table["prompt_id"], table["image_index"], strict=True)) == [
        (f"toy-{prompt}", index) for prompt in range(3) for index in range(2)
    ]


SEARCHING = dataclasses.replace(METHOD, arguments={"n_scored": 5})


def trajectories(out: str) -> pd.DataFrame:
    return frames.read(Path(out).with_name(generate.TRAJECTORIES_FILE), "trajectories")


def test_the_reward_of_every_scored_image_is_kept_beside_the_images(tmp_path: Path) -> None:
    out = made_images(tmp_path, method=SEARCHING, steps=2)
    table = trajectories(out)
    images = frames.read(out, "images")
    assert len(table) == 5 * len(images)
    for prompt_id, index in zip(images["prompt_id"], images["image_index"], strict=True):
        own = table[(table["prompt_id"] == prompt_id) & (table["image_index"] == index)]
        start = float(image_noise(7, prompt_id, index, (3, 4, 4)).flatten()[0])
        expected = [start, start - 1, np.nan, start + 2, start + 1]
        assert own["iteration"].to_list() == [1, 2, 3, 4, 5]
        np.testing.assert_allclose(own["value"], expected, rtol=1e-6)
        best = [start, start, start, start + 2, start + 2]
        np.testing.assert_allclose(own["best_value"], best, rtol=1e-6)
        # Six passes for five scored images: one each, and one before the first.
        assert own["nfe"].to_list() == [2, 3, 4, 5, 6]
        assert set(own["prompt"]) == set(images["prompt"][images["prompt_id"] == prompt_id])


def test_images_that_cost_differently_say_what_each_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ToyMethod.run

    def run(self: ToyMethod, request: Any) -> Any:
        each = [Spent(seed % 97, seed % 89) for seed in request.seeds]
        return plain(self, request)._replace(each=each)

    monkeypatch.setattr(ToyMethod, "run", run)
    for row in pd.read_parquet(made_images(tmp_path)).itertuples():
        seed = image_seed(7, row.prompt_id, row.image_index, stream="search")
        assert (row.nfe, row.reward_calls, row.backward_passes) == (seed % 97, seed % 89, 0)


def test_a_method_that_scores_nothing_keeps_an_empty_trajectory(tmp_path: Path) -> None:
    assert trajectories(made_images(tmp_path)).empty


def test_a_killed_search_keeps_the_trajectories_of_its_finished_images(tmp_path: Path) -> None:
    whole = trajectories(made_images(tmp_path / "whole", method=SEARCHING))
    harness_toys.reset()
    interrupted(tmp_path / "killed", method=SEARCHING)
    resumed = trajectories(made_images(tmp_path / "killed", method=SEARCHING))
    assert n_made() == 2
    pd.testing.assert_frame_equal(resumed, whole)


def test_images_of_a_work_folder_without_trajectories_are_made_again(tmp_path: Path) -> None:
    interrupted(tmp_path)
    rows = tmp_path / "work" / "rows.jsonl"
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    old = [{key: value for key, value in line.items() if key != "scored"} for line in lines]
    rows.write_text("".join(json.dumps(line) + "\n" for line in old))
    made_images(tmp_path)
    assert n_made() == 6


def test_the_batch_size_changes_no_image(tmp_path: Path) -> None:
    for size in (1, 4, 100):
        made_images(tmp_path / str(size), batch_size=size)
    first, *others = (pixels(tmp_path / str(size)) for size in (1, 4, 100))
    assert len(first) == 6
    assert len(set(first.values())) == 6
    assert all(other == first for other in others)


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_changes_no_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_images(tmp_path / "whole", batch_size=6)
    harness_toys.reset()
    ToyGenerator.room = 2
    made_images(tmp_path / "halved", batch_size=6)
    assert [size for _, size in ToyMethod.calls] == [6, 3, 2, 2, 2]
    assert pixels(tmp_path / "halved") == pixels(tmp_path / "whole")
    said = capsys.readouterr().err
    assert "toy_model toy_method: out of memory with 6 at a time, going on with 3" in said
    assert "out of memory with 3 at a time, going on with 2" in said


def test_an_image_that_does_not_fit_alone_is_the_devices_error(tmp_path: Path) -> None:
    ToyGenerator.room = 0
    with pytest.raises(torch.OutOfMemoryError, match="no room for 1 images"):
        made_images(tmp_path, batch_size=4)
    assert [size for _, size in ToyMethod.calls] == [4, 2, 1]


def test_another_seed_changes_every_image(tmp_path: Path) -> None:
    made_images(tmp_path / "a")
    made_images(tmp_path / "b", seed=8)
    first, second = pixels(tmp_path / "a"), pixels(tmp_path / "b")
    assert all(first[name] != second[name] for name in first)


def test_each_prompt_is_encoded_once_by_generator_and_reward(tmp_path: Path) -> None:
    searching = dataclasses.replace(METHOD, needs_reward=True)
    made_images(tmp_path, method=searching, reward=REWARD, batch_size=1)
    assert list(PROMPTS[:3]) == ToyGenerator.encoded
    assert list(PROMPTS[:3]) == harness_toys.Redness.encoded


def test_a_killed_run_continues_where_it_stopped_and_ends_the_same(tmp_path: Path) -> None:
    whole = made_images(tmp_path / "whole")
    harness_toys.reset()
    interrupted(tmp_path / "killed")
    assert not (tmp_path / "killed" / "out").exists()
    assert len(pixels(tmp_path / "killed" / "work")) == 4
    out = made_images(tmp_path / "killed")
    assert n_made() == 2
    assert pixels(tmp_path / "killed") == pixels(tmp_path / "whole")
    assert frames.read(out, "images").equals(frames.read(whole, "images"))


def test_an_image_that_vanished_from_the_work_folder_is_made_again_with_its_batch(
    tmp_path: Path,
) -> None:
    made_images(tmp_path / "whole")
    harness_toys.reset()
    interrupted(tmp_path / "killed")
    next((tmp_path / "killed" / "work").rglob("toy-0_001.png")).unlink()
    made_images(tmp_path / "killed")
    # With its batch, so that no batch is another one than without the interruption.
    assert [size for _, size in ToyMethod.calls] == [4, 2]
    assert pixels(tmp_path / "killed") == pixels(tmp_path / "whole")


def test_a_run_that_was_killed_while_publishing_loads_no_model_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(frames, "write", die)
        with pytest.raises(KeyboardInterrupt):
            made_images(tmp_path)
    harness_toys.reset()
    made_images(tmp_path)
    assert ToyGenerator.built == 0
    assert len(pixels(tmp_path / "out")) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"steps": 2},
        {"model": dataclasses.replace(MODEL, version=2)},
        {"method": method(label="other")},
        {"benchmark": dataclasses.replace(BENCHMARK, arguments={"text": "a red heart"})},
    ],
    ids=["seed", "steps", "model", "method", "benchmark"],
)
def test_a_changed_job_starts_afresh(change: dict[str, Any], tmp_path: Path) -> None:
    interrupted(tmp_path)
    made_images(tmp_path, **change)
    assert n_made() == 6


def test_prompts_that_change_behind_a_job_are_made_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path)
    monkeypatch.setattr(harness_toys, "PROMPTS", PROMPTS[::-1])
    table = frames.read(made_images(tmp_path), "images")
    assert n_made() == 6
    assert table["prompt"].iloc[0] == PROMPTS[-1]


def test_rewritten_weights_start_a_job_afresh(tmp_path: Path) -> None:
    model = local_model(tmp_path / "model")
    interrupted(tmp_path, model=model)
    weights = next((tmp_path / "model").rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes())
    made_images(tmp_path, model=model)
    assert n_made() == 6


def test_a_row_that_a_kill_tore_is_made_again(tmp_path: Path) -> None:
    work = Work(tmp_path, "id")
    work.add([{"a": 1}, {"a": 2}])
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"a": 3, "b"')
    again = Work(tmp_path, "id")
    assert again.rows() == [{"a": 1}, {"a": 2}]
    again.add([{"a": 4}])
    assert Work(tmp_path, "id").rows() == [{"a": 1}, {"a": 2}, {"a": 4}]
    assert Work(tmp_path, "other").rows() == []


def test_a_finished_run_leaves_no_work_and_replaces_older_images(tmp_path: Path) -> None:
    made_images(tmp_path, benchmark=dataclasses.replace(BENCHMARK, n_images=3))
    made_images(tmp_path)
    assert len(pixels(tmp_path / "out")) == 6
    assert not (tmp_path / "work").exists()


def test_an_image_that_is_not_finite_names_its_prompt_and_keeps_the_finished_ones(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=r"toy_model toy_method, prompt 'toy-2'.*not finite"):
        made_images(tmp_path, method=method(poison=PROMPTS[2]))
    assert len(pixels(tmp_path / "work")) == 4
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"n": 0}, "n >= 1"), ({"m": 1}, "unknown keyword for .*BestOfN: 'm'")],
)
def test_a_wrong_search_of_a_hybrid_stops_before_anything_is_loaded(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    NoiseNetwork(_tiny(), rank=2, alpha=4.0).save(tmp_path / "adapter")
    search = MethodSpec(
        "bon", "hypernoise.methods.best_of_n:BestOfN", 1, arguments, needs_reward=True
    )
    hybrid = dataclasses.replace(HYBRID, searcher=search)
    adapter = str(tmp_path / "adapter")
    with pytest.raises(ValueError, match=message):
        made_images(tmp_path, method=hybrid, reward=REWARD, adapter=adapter)
    assert ToyGenerator.built == 0


HYBRID = MethodSpec(
    "hypernoise_reno",
    "hypernoise.methods.warm_start:WarmStart",
    version=1,
    trains="hypernoise",
    needs_reward=True,
    search="reno",
    searcher=MethodSpec(
        "reno", "hypernoise.methods.reno:Reno", 1, {"iterations": 3}, needs_reward=True
    ),
)


def local_model(folder: Path) -> ModelSpec:
    one_weight_file(folder)
    return dataclasses.replace(MODEL, weights=str(folder))


def benchmark(**arguments: Any) -> BenchmarkSpec:
    return dataclasses.replace(BENCHMARK, arguments=arguments)


TRAINED = dataclasses.replace(METHOD, trains="hypernoise")


def best_of(n: Any) -> MethodSpec:
    target = "hypernoise.methods.best_of_n:BestOfN"
    return MethodSpec("bon", target, 1, {"n": n}, needs_reward=True)


def between_steps() -> MethodSpec:
    target = "hypernoise.methods.step_search:VerifierThreshold"
    return MethodSpec("vt", target, 1, {"n": 2, "threshold": 0.0}, needs_reward=True)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"method": method(lable="x")},
            ValueError,
            "unknown keyword for harness_toys:ToyMethod: 'lable'; did you mean 'label'",
        ),
        (
            {
                "method": best_of(0),
                "reward": REWARD,
            },
            ValueError,
            "method 'bon', with the config's arguments: best-of-n needs n >= 1 .*, got 0, 64",
        ),
        (
            {"method": best_of(2.5), "reward": REWARD},
            ValueError,
            r"method 'bon', .*: n must be a whole number, got 2\.5",
        ),
        (
            {"method": best_of(True), "reward": REWARD},
            ValueError,
            "n must be a whole number, got True",
        ),
        (
            {
                "method": MethodSpec(
                    "reno",
                    "hypernoise.methods.reno:Reno",
                    1,
                    {"white_gradient": "no"},
                    needs_reward=True,
                ),
                "reward": REWARD,
            },
            ValueError,
            "white_gradient must be true or false, got 'no'",
        ),
        (
            {
                "method": MethodSpec(
                    "reno",
                    "hypernoise.methods.reno:Reno",
                    1,
                    {"learning_rate": "5e-2"},
                    trains=None,
                    needs_reward=True,
                    file="reno.smk",
                ),
                "reward": REWARD,
            },
            ValueError,
            r"^reno\.smk: method 'reno', .*: learning_rate must be a number",
        ),
        (
            {"method": between_steps(), "reward": REWARD, "steps": 1},
            ValueError,
            "toy_model: 'vt' works between sampling steps, so it needs at least 2, and would get 1",
        ),
        ({"benchmark": benchmark(n=0)}, ValueError, r"n=0\) gives no prompts"),
        ({"benchmark": benchmark(ids=["a", "a"])}, ValueError, "'a' occurs twice"),
        ({"benchmark": benchmark(ids=["a/b"])}, ValueError, "'a/b' must be letters"),
        ({"benchmark": benchmark(text=" ")}, ValueError, "text of prompt 'toy-0' is empty"),
        ({"reward": REWARD}, ValueError, "'toy_method' uses no reward, but got 'toy_reward'"),
        ({"adapter": "x"}, ValueError, "'toy_method' trains nothing, but got the adapter x"),
        ({"method": TRAINED}, ValueError, "'toy_method' needs a reward"),
        (
            {"method": dataclasses.replace(METHOD, needs_reward=True)},
            ValueError,
            "'toy_method' needs a reward",
        ),
        (
            {"method": TRAINED, "reward": REWARD},
            ValueError,
            "'toy_method' needs the folder of a trained hypernoise adapter",
        ),
        (
            {"method": TRAINED, "reward": REWARD, "adapter": "no/such/folder"},
            FileNotFoundError,
            "no/such/folder of method 'toy_method' is missing",
        ),
        (
            {"model": dataclasses.replace(MODEL, weights="no/such/weights")},
            FileNotFoundError,
            "'toy_model': no folder no/such/weights",
        ),
    ],
)
def test_a_job_that_cannot_be_carried_out_stops_before_anything_is_loaded(
    changes: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        made_images(tmp_path, **changes)
    assert ToyGenerator.built == 0
    assert list(tmp_path.iterdir()) == []


def test_truncated_or_missing_weights_stop_a_job_before_anything_is_loaded(tmp_path: Path) -> None:
    model = local_model(tmp_path / "model")
    weights = next((tmp_path / "model").rglob("*.safetensors"))
    damage(weights)
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.safetensors is truncated"):
        made_images(tmp_path, model=model)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"no safetensors weights in .*unet"):
        made_images(tmp_path, model=model)
    searching = dataclasses.replace(METHOD, needs_reward=True)
    matcher = dataclasses.replace(REWARD, arguments={"weights": "lost.safetensors"})
    with pytest.raises(FileNotFoundError, match=r"lost\.safetensors is missing"):
        made_images(tmp_path, method=searching, reward=matcher)
    assert ToyGenerator.built == 0


def test_a_trained_method_does_not_need_the_weights_of_its_reward(tmp_path: Path) -> None:
    matcher = dataclasses.replace(REWARD, arguments={"weights": "lost.safetensors"})
    folder = tmp_path / "adapter"
    NoiseNetwork(_tiny(), rank=2, alpha=4.0).save(folder)
    job = generate_job(tmp_path, method=TRAINED, reward=matcher, adapter=str(folder))
    assert len(generate.check(job)) == 6


def _tiny() -> Any:
    return build_generator("tiny_sd")


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny_sd"
    _tiny().pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_sd_job(tiny_folder: Path) -> dict[str, Any]:
    """96 prompts, an image each, of an untrained SD-Turbo."""
    return {
        "model": ModelSpec(
            "tiny_sd",
            "hypernoise.models.unet:SdTurbo",
            weights=str(tiny_folder),
            size_px=32,
            version=1,
        ),
        "benchmark": BenchmarkSpec(
            "shapes",
            "harness.benchmarks.shapeworld:ShapeWorld",
            version=1,
            metric="geneval_correct",
            n_images=1,
            arguments={"split": "validation"},
        ),
        "method": MethodSpec("base", "hypernoise.methods.base:Base", version=1),
        "batch_size": 64,
    }


def test_a_stock_pipeline_with_an_untrained_noise_network_gives_the_base_images(
    tiny_sd_job: dict[str, Any], tmp_path: Path
) -> None:
    NoiseNetwork(_tiny(), rank=2, alpha=4.0).save(tmp_path / "adapter")
    made_images(tmp_path / "base", **tiny_sd_job)
    tiny_sd_job["method"] = MethodSpec(
        "hypernoise", "hypernoise.methods.hypernoise:HyperNoise", version=1, trains="hypernoise"
    )
    adapter = str(tmp_path / "adapter")
    out = made_images(tmp_path / "noise", reward=REWARD, adapter=adapter, **tiny_sd_job)
    table = frames.read(out, "images")
    assert set(table["nfe"]) == {2.0}
    assert set(table["reward"]) == {"toy_reward"}
    assert pixels(tmp_path / "noise") == pixels(tmp_path / "base")
    assert len(set(pixels(tmp_path / "base").values())) > 1


def test_a_hybrid_is_built_with_its_network_and_its_search(
    tiny_sd_job: dict[str, Any], tmp_path: Path
) -> None:
    NoiseNetwork(_tiny(), rank=2, alpha=4.0).save(tmp_path / "adapter")
    prompts = {
        "target": "harness.benchmarks.prompts:subset",
        "of": "hypernoise.shapeworld.captions:captions",
        "n": 2,
        "split": "validation",
    }
    tiny_sd_job["benchmark"] = dataclasses.replace(
        tiny_sd_job["benchmark"],
        target="harness.benchmarks.prompts:PromptList",
        arguments={"prompts": prompts},
        metric="",
    )
    tiny_sd_job["method"] = HYBRID
    adapter = str(tmp_path / "adapter")
    out = made_images(tmp_path, reward=REWARD, adapter=adapter, **tiny_sd_job)
    table = frames.read(out, "images")
    assert set(table["nfe"]) == {4.0}
    assert set(table["backward_passes"]) == {2.0}
    scored = trajectories(out)
    assert scored["nfe"].to_list() == [2, 3, 4] * len(table)


def test_the_batch_size_moves_no_byte_of_a_stock_pipelines_images_by_more_than_rounding(
    tiny_sd_job: dict[str, Any], tmp_path: Path
) -> None:
    made_images(tmp_path / "large", **tiny_sd_job)
    made_images(tmp_path / "small", **tiny_sd_job | {"batch_size": 7})
    large, small = pixels(tmp_path / "large"), pixels(tmp_path / "small")
    assert len(large) == 96
    for name, data in large.items():
        first, second = (np.frombuffer(d, np.uint8).astype(int) for d in (data, small[name]))
        # Kernels sum in another order for another batch; that may turn a rounding to bytes.
        assert abs(first - second).max() <= 1


def test_a_method_that_gives_no_images_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyMethod, "run", lambda *_: None)
    with pytest.raises(ValueError, match=r"ToyMethod\.run gives a NoneType, must give a "):
        generate.run(generate_job(tmp_path))
