"""A benchmark: prompts, metrics, and what each image is worth by them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.benchmarks.protocol import Images, Metric, Prompt, Score

SUBJECTS = ("circle", "square", "triangle")
LIGHTS = {"light": 1.0, "dark": 0.0}


class Brightness:
    """Prompts that ask for light or for darkness; a constructor may take arguments, and loads
    nothing."""

    metrics = (Metric("as_bright_as_asked", "1 less the distance to the light asked for"),)

    def prompts(self) -> list[Prompt]:
        """Three prompts of each of two tasks; metadata is what an image is judged by."""
        return [
            Prompt(
                f"{light}_{subject}", f"a {light} photo of a {subject}", light, {"wanted": wanted}
            )
            for light, wanted in LIGHTS.items()
            for subject in SUBJECTS
        ]

    def check(self, prompts: Sequence[Prompt] = ()) -> None:
        """Raise a ValueError here if images could not be scored; these always can."""

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[dict[str, Score]]:
        """For each image [3, H, W] in [0, 1]: the name of every metric, and its score."""
        scores = []
        for image, prompt in zip(images, prompts, strict=True):
            brightness = float(image.mean())
            value = 1.0 - abs(brightness - prompt.metadata["wanted"])
            scores.append({"as_bright_as_asked": Score(value, f"brightness {brightness:.2f}")})
        return scores
