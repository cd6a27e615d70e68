"""Components that jobs of the harness's tests name as targets: instant, and they count."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from harness.benchmarks.neighbours import runs
from harness.benchmarks.protocol import Images, Metric, Prompt, Score
from harness.experiment.components import BenchmarkSpec, MethodSpec, ModelSpec, RewardSpec
from harness.experiment.jobs import GenerateJob
from harness.stages import generate
from hypernoise.identity import depends_on_batch_size
from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.models.protocol import Conditioning, Seeds, Walk

SIZE_PX = 4
PLENTY = 1_000_000
PROMPTS = ("a red circle", "a blue ring", "a green heart", "two moons", "a pink cross")


def check_room(n: int, room: int) -> None:
    """Fail as a GPU does that has memory for ``room`` images."""
    if n > room:
        raise torch.OutOfMemoryError(f"no room for {n} images")


class ToyGenerator:
    """Images that show noise and prompt: the sigmoid of the noise plus a shade per prompt.

    Class attributes count what all instances did, and say for how many images there is memory.
    """

    last_layer = "0"
    room: ClassVar[int] = PLENTY
    built: ClassVar[int] = 0
    encoded: ClassVar[list[str]] = []

    def __init__(
        self,
        weights: str,
        size_px: int,
        gain: float = 1.0,
        device: str = "cpu",
        architecture: str = "",
    ) -> None:
        type(self).built += 1
        self.size_px = size_px
        self.gain = gain
        self.noise_shape: tuple[int, ...] = (3, size_px, size_px)
        self.backbone = nn.Sequential(nn.Linear(size_px, size_px))
        vae = nn.Linear(2, 3, bias=False)
        self.pipeline: Any = SimpleNamespace(components={"unet": self.backbone, "vae": vae})

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        type(self).encoded += prompts
        shades = torch.tensor([[len(prompt) / 50.0] for prompt in prompts])
        return Conditioning({"shade": shades}, tuple(prompts))

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        moved: Tensor = self.backbone(noise)
        return moved

    def sample(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Seeds = None,
        walk: Walk | None = None,
    ) -> Tensor:
        check_room(len(noise), type(self).room)
        shade = conditioning.tensors["shade"].view(-1, 1, 1, 1)
        return torch.sigmoid(self.gain * noise + shade)


@depends_on_batch_size
class ToyMethod:
    """Draws once, at a claimed cost; notes every call's label and batch size.

    With ``lives`` calls over, the next one is a kill.
    """

    calls: ClassVar[list[tuple[str, int]]] = []
    lives: ClassVar[int] = PLENTY
    words_prompts: ClassVar[bool] = False

    def __init__(
        self, label: str = "toy", poison: str = "", wait_s: float = 0.0, n_scored: int = 0
    ) -> None:
        self.n_scored = n_scored
        self.label = label
        self.poison = poison
        self.wait_s = wait_s

    def run(self, request: Request) -> Generated:
        noise, steps = request.noise, request.steps
        if len(type(self).calls) >= type(self).lives:
            raise KeyboardInterrupt
        type(self).calls.append((self.label, len(noise)))
        time.sleep(self.wait_s)
        images = request.sample(noise)
        texts = request.conditioning.prompts
        poisoned = [row for row, text in enumerate(texts) if text == self.poison]
        images[poisoned] = torch.nan
        made = Generated(images, noise, Spent(nfe=3 * steps, reward_calls=2, backward_passes=1))
        if not self.n_scored:
            return made
        # Each image's own numbers, up and down, with one attempt that gave nothing.
        first = noise.flatten(1)[:, :1]
        walk = first + torch.tensor([0.0, -1.0, torch.nan, 2.0, 1.0])[: self.n_scored]
        return made._replace(trajectory=walk)


class Redness:
    """Mean red of an image, plus the length of its prompt; ``broken`` breaks it."""

    encoded: ClassVar[list[str]] = []
    room: ClassVar[int] = PLENTY
    name = "toy_redness"

    def __init__(self, weights: str = "", broken: bool = False) -> None:
        self.broken = broken

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        type(self).encoded += prompts
        return Conditioning(
            {"length": torch.tensor([float(len(text)) for text in prompts])}, tuple(prompts)
        )

    def score(self, images: Tensor, features: Conditioning) -> Tensor:
        check_room(len(images), type(self).room)
        scores = images[:, 0].mean(dim=(1, 2)) + features.tensors["length"]
        return scores * torch.nan if self.broken else scores


def prompts(n: int = 3, ids: Sequence[str] = (), text: str = "") -> list[Prompt]:
    """``n`` prompts, or prompts of the given ids."""
    names = ids or [f"toy-{index}" for index in range(n)]
    return [
        Prompt(name, text or PROMPTS[index], "toy", {"number": index})
        for index, name in enumerate(names)
    ]


def texts(of: Sequence[str]) -> list[Prompt]:
    """Prompts of the given texts."""
    return [Prompt(f"p{number}", text, "toy") for number, text in enumerate(of)]


def meanings(of: Mapping[str, str]) -> list[Prompt]:
    """Prompts of the given texts and what they mean."""
    listed = enumerate(of.items())
    return [Prompt(f"p{n}", text, "toy", meaning=meaning) for n, (text, meaning) in listed]


def questioned(vqa_list: list[list[str]]) -> list[Prompt]:
    """The prompts with questions and their answers, as GenEval 2 has them."""
    metadata = {"vqa_list": vqa_list, "skills": ["object"] * len(vqa_list)}
    return [replace(prompt, metadata=metadata) for prompt in prompts()]


class MeanColour:
    """Squared distance of mean colours; counts the images that it embedded."""

    embedded = 0

    def embed(self, images: Tensor) -> Tensor:
        type(self).embedded += len(images)
        return images.mean(dim=(2, 3))

    def compare(self, vector: Tensor, others: Tensor) -> Tensor:
        return (vector - others).square().sum(dim=1)


class ToyBenchmark:
    """Measures the number of an image's prompt, and if asked its square; one number may be left
    out of the first metric.

    ``spoil`` changes what is given, before it is given.
    """

    spoil: ClassVar[Any] = staticmethod(lambda scores: scores)
    seen: ClassVar[list[list[range]]] = []

    def __init__(
        self,
        n: int = 3,
        ids: Sequence[str] = (),
        text: str = "",
        offset: float = 0.0,
        square: bool = False,
        left_out: int = -1,
    ) -> None:
        self.metrics = (Metric("number", "the prompt's number"),)
        self.metrics += (Metric("square", "its square"),) * square
        self._prompts = {"n": n, "ids": ids, "text": text}
        self._offset, self._left_out = offset, left_out

    def prompts(self) -> list[Prompt]:
        return prompts(**self._prompts)  # type: ignore[arg-type]

    def check(self, prompts: Sequence[Prompt] = ()) -> None:
        pass

    def score(self, images: Images, prompts: Sequence[Prompt]) -> Any:
        type(self).seen.append(runs(images))
        return type(self).spoil(
            [self._of(*pair) for pair in zip(images, prompts, strict=True)],
        )

    def _of(self, image: Any, prompt: Prompt) -> dict[str, Score]:
        number = prompt.metadata["number"]
        is_odd = number == self._left_out
        detail = "odd one out" if is_odd else f"blue {image[2].mean():.4f}"
        own = {"number": Score(number + self._offset, detail, is_odd)}
        return own | {m.name: Score(number * number) for m in self.metrics[1:]}


def reset() -> None:
    """Set all counts to zero, and give memory to everybody."""
    ToyGenerator.room = Redness.room = PLENTY
    ToyGenerator.built = 0
    ToyGenerator.encoded = []
    ToyMethod.calls = []
    ToyMethod.lives = PLENTY
    Redness.encoded = []
    ToyBenchmark.spoil = staticmethod(lambda scores: scores)
    ToyBenchmark.seen = []


MODEL = ModelSpec(
    "toy_model", "harness_toys:ToyGenerator", weights="random", size_px=SIZE_PX, version=1
)
METHOD = MethodSpec("toy_method", "harness_toys:ToyMethod", version=1)
REWARD = RewardSpec("toy_reward", "harness_toys:Redness", version=1)
BENCHMARK = BenchmarkSpec(
    "toy_benchmark", "harness_toys:ToyBenchmark", version=1, metric="number", n_images=2
)


def generate_job(folder: Path, **changes: Any) -> GenerateJob:
    """Six images of three prompts, in batches of four."""
    fields: dict[str, Any] = {
        "model": MODEL,
        "method": METHOD,
        "reward": None,
        "benchmark": BENCHMARK,
        "steps": 1,
        "seed": 7,
        "batch_size": 4,
        "adapter": None,
        "out": str(folder / "out" / "images.parquet"),
        "work": str(folder / "work"),
    }
    return GenerateJob(**fields | changes)


def made_images(folder: Path, **changes: Any) -> str:
    """Run a generation; returns the path of its frame."""
    job = generate_job(folder, **changes)
    generate.run(job)
    return job.out


def pixels(folder: Path) -> dict[str, bytes]:
    """The pixels of every PNG below a folder, by its name."""
    return {path.name: Image.open(path).tobytes() for path in sorted(folder.rglob("*.png"))}


def damage(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_weight_file(folder: Path) -> None:
    """A diffusers folder with a single component that has weights."""
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"unet": ["diffusers", "UNet"]}))
    (folder / "unet" / "config.json").write_text("{}")
    save_file({"w": torch.zeros(64)}, folder / "unet" / "diffusion_pytorch_model.safetensors")
