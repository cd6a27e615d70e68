"""Images per second of every scorer, with random weights of the published sizes, as CSV:

    PYTHONPATH=.:tests:tests/support python -m benchmarks.scorer_throughput OUT.csv [NAME ...]

Published scorers get 512 px photographs and build their networks at full size: up to 4 GB, one
scorer at a time. What the machine has no room for is said on standard error and left out. A batch
is timed ``REPEATS`` times after one call to warm up, and the fastest counts; larger batches are
tried as long as they take less than ``LONGEST_S``. Neighbours of the run lengthen the wall time but
not the processor's, which on one thread is what a quiet machine would take, caches aside.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import psutil
import torch
from parity import small
from parity.pairs import photographs
from PIL import Image
from torch import Tensor, nn

from harness.base.import_strings import resolve
from harness.benchmarks import blip_vqa, clip_colors, mask2former, shapeworld
from harness.build.devices import default_device
from hypernoise.images import to_uint8
from hypernoise.shapeworld.captions import captions
from hypernoise.shapeworld.scenes import lay_out, noise_features, render_batch

BATCHES = (1, 4, 16, 64)
REPEATS = 2
LONGEST_S = 60.0
PROMPT = "a photo of a red bench and a blue cow"
#: Name -> target, and GiB that it needs in float32.
REWARDS = {
    "hpsv2_1": ("hypernoise.rewards.hpsv2:HPSv2", 4.5),
    "pickscore": ("hypernoise.rewards.pickscore:PickScore", 4.5),
    "clip_score": ("hypernoise.rewards.clip_score:ClipScore", 4.5),
    "imagereward": ("hypernoise.rewards.imagereward:ImageReward", 2.5),
    "aesthetic": ("hypernoise.rewards.aesthetic:Aesthetic", 2.2),
}
COMPARISONS = {
    "lpips_distance": ("harness.similarity.lpips:Lpips", 1.0),
    "dinov2_similarity": ("harness.similarity.dinov2:DinoV2", 1.0),
}
#: Of the embedded world: name -> target.
MATCHERS = {
    "matcher": "hypernoise.rewards.matcher:ShapeMatcher",
    "matcher_judge": "hypernoise.rewards.shape_judge:ShapeJudge",
}
#: Modules that read and fill their networks with checkpoints.
_FILLING = (
    "hypernoise.rewards.openclip",
    "hypernoise.rewards.pickscore",
    "hypernoise.rewards.imagereward",
    "hypernoise.rewards.aesthetic",
    "harness.similarity.dinov2",
    "harness.benchmarks.blip_vqa",
)
#: What BLIP-VQA is asked of each image: most prompts of T2I-CompBench have two noun chunks.
QUESTIONS = ("a red bench?", "a blue cow?")
#: Of bert-base-uncased; a decoder's last layer has as many rows.
BERT_WORDS = 30522

Scorer = Callable[[Tensor], Any]


def scorers() -> dict[str, tuple[float, int, Callable[[], Scorer]]]:
    """Name -> (GiB that it needs, px of its images, what builds it)."""
    published = {n: (gib, 512, lambda t=t: _reward(t)) for n, (t, gib) in REWARDS.items()}
    published |= {n: (gib, 512, lambda t=t: _comparison(t)) for n, (t, gib) in COMPARISONS.items()}
    published["geneval_detector"] = (2.5, 512, _detector)
    published["geneval_colors"] = (2.2, 512, _colors)
    published["blip_vqa"] = (2.5, 512, _blip_vqa)
    world = {n: (0.2, 32, lambda n=n: _matcher(n)) for n in MATCHERS}
    return {**published, **world, "shapeworld_detector": (0.2, 32, lambda: _analytic)}


def main() -> None:
    out, names = Path(sys.argv[1]), sys.argv[2:]
    known = scorers()
    rows = pd.read_csv(out).to_dict("records") if out.is_file() else []
    for name in names or known:
        gib, size_px, build = known[name]
        free_gib = psutil.virtual_memory().available / 2**30
        if free_gib < gib + 0.5:
            print(f"{name} needs {gib} GiB, {free_gib:.1f} are free: left out", file=sys.stderr)
            continue
        with random_weights(), torch.no_grad():
            scorer = build()
            rows = [row for row in rows if row["scorer"] != name]
            shown = images(size_px).to(default_device()) if size_px > 32 else scenes()
            rows += [{"scorer": name, **row} for row in measure(scorer, shown)]
        del scorer
        gc.collect()
        pd.DataFrame(rows).to_csv(out, index=False)


def measure(scorer: Scorer, photos: Tensor) -> Iterator[dict[str, Any]]:
    """A row for each batch size."""
    for batch_size in BATCHES:
        batch = photos[torch.arange(batch_size) % len(photos)]
        warm_up_s, _ = _timed(scorer, batch)
        wall, processor = zip(*(_timed(scorer, batch) for _ in range(REPEATS)), strict=True)
        row = {
            "batch_size": batch_size,
            "images_per_s": batch_size / min(wall),
            "images_per_processor_s": batch_size / min(processor),
            "threads": torch.get_num_threads(),
            "load": os.getloadavg()[0],
        }
        print(row, file=sys.stderr)
        yield row
        if warm_up_s * BATCHES[1] > LONGEST_S:
            return


def images(size_px: int) -> Tensor:
    """Photographs [8, 3, H, W] in [0, 1]."""
    found = [p.convert("RGB").resize((size_px, size_px)) for p in photographs().values()]
    return torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in found]) / 255


def scenes() -> Tensor:
    """Rendered scenes [8, 3, 32, 32] in [0, 1]."""
    chosen = captions("evaluation")[-8:]
    features = noise_features(torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(0)))
    return render_batch([lay_out(c, f) for c, f in zip(chosen, features, strict=True)])


@contextmanager
def random_weights() -> Iterator[None]:
    """Checkpoints are neither fetched nor read: networks get small random weights."""
    with ExitStack() as stack:
        stack.enter_context(
            patch("hypernoise.weights.pinned_files.PinnedFile.fetch", lambda self: self)
        )
        for module in _FILLING:
            stack.enter_context(patch(f"{module}.read", lambda _: {}))
            stack.enter_context(patch(f"{module}.fill", _fill))
        yield


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    state = {
        name: torch.empty(v.shape).normal_(0, 0.02) if v.is_meta else v
        for name, v in network.state_dict().items()
    }
    network.load_state_dict(state, assign=True)
    network.requires_grad_(False).eval()


def _reward(target: str) -> Scorer:
    arguments = {"weights": "random", "device": default_device()}
    with tempfile.TemporaryDirectory() as folder:
        if target.endswith("ImageReward"):
            vocabulary = Path(folder, "vocab.txt")
            vocabulary.write_text("\n".join(small.bert_vocabulary()), encoding="utf-8")
            arguments["vocabulary"] = str(vocabulary)
            # Its own place is all that the patched fetch gives.
            with patch(
                "hypernoise.weights.pinned_files.PinnedFile.fetch", lambda self: Path(self.place)
            ):
                reward = resolve(target)(**arguments)
        else:
            arguments |= {"head": "random"} if target.endswith("Aesthetic") else {}
            reward = resolve(target)(**arguments)
    features = reward.encode([PROMPT])
    return lambda batch: reward.score(batch, features.rows([0] * len(batch)))


def _comparison(target: str) -> Scorer:
    if target.endswith("Lpips"):
        return _lpips(target)
    embed: Scorer = resolve(target)(weights="random", device=default_device()).embed
    return embed


def _lpips(target: str) -> Scorer:
    import lpips  # type: ignore[import-untyped]
    from safetensors.torch import save_file

    network = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False).net
    state = {f"features.{k.partition('.')[2]}": v for k, v in network.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "alexnet.safetensors")
        save_file(state, path)
        with patch("hypernoise.weights.pinned_files.PinnedFile.fetch", lambda self: path):
            embed: Scorer = resolve(target)(weights=str(path), device=default_device()).embed
    return embed


def _detector() -> Scorer:
    """Mask2Former Swin-S and its read-out, an image at a time as GenEval does."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    # Swin-S for COCO instances: config.json of facebook/mask2former-swin-small-coco-instance.
    swin = SwinConfig(
        depths=[2, 2, 18, 2],
        num_heads=[3, 6, 12, 24],
        embed_dim=96,
        window_size=7,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    detector: Any = object.__new__(mask2former.Mask2Former)
    config = Mask2FormerConfig(backbone_config=swin, num_labels=80)
    detector.model = Mask2FormerForUniversalSegmentation(config).eval().to(default_device())
    detector.device, detector.postprocessing = default_device(), "mmdet"
    return lambda batch: [detector.detect(Image.fromarray(image)) for image in to_uint8(batch)]


def _colors() -> Scorer:
    """One object of each image: cutting out, CLIP's image tower, and the nearest text."""
    with patch("hypernoise.weights.pinned_files.PinnedFile.check"):
        colors = clip_colors.ClipColors("random", device=default_device())

    def classify(batch: Tensor) -> list[str]:
        height, width = batch.shape[-2:]
        found = mask2former.Instances(
            torch.ones(1),
            torch.zeros(1, dtype=torch.long),
            torch.tensor([[0.0, 0.0, width, height]]),
            torch.ones(1, height, width, dtype=torch.bool),
        )
        crops = [Image.fromarray(image) for image in to_uint8(batch)]
        return [colors.classify(crop, "bench", found, [0])[0] for crop in crops]

    return classify


def _blip_vqa() -> Scorer:
    """Images encoded once each, and their questions answered."""
    words = list(dict.fromkeys([*small.bert_vocabulary(), "yes", "no"]))
    words += [f"[unused{index}]" for index in range(BERT_WORDS - len(words))]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder, "vocab.txt")
        vocabulary.write_text("\n".join(words), encoding="utf-8")
        with patch("hypernoise.weights.pinned_files.PinnedFile.check"):
            answerer = blip_vqa.BlipVqa("random", str(vocabulary), device=default_device())
        with patch(
            "hypernoise.weights.pinned_files.PinnedFile.fetch", lambda self: Path(self.place)
        ):
            answerer.tokens(QUESTIONS)
    answerer.network.eval()
    return lambda batch: answerer.yes_probability(batch.numpy(), [QUESTIONS] * len(batch))


def _matcher(name: str) -> Scorer:
    reward = resolve(MATCHERS[name])(f"hypernoise/shapeworld/weights/{name}.safetensors")
    features = reward.encode(["a photo of a red circle and a blue ring"])
    return lambda batch: reward.score(batch, features.rows([0] * len(batch)))


def _analytic(batch: Tensor) -> Any:
    record = {"tag": "single_object", "include": [{"class": "ring", "count": 1}], "prompt": "x"}
    return [shapeworld.judge_image(image, record) for image in batch.numpy()]


def _timed(scorer: Scorer, batch: Tensor) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    scorer(batch)
    if default_device() != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    main()
