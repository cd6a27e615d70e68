"""HPSv3: human preference as Qwen2-VL-7B with a head that gives a mean and a deviation.

Source: Ma et al. 2025, arXiv 2508.03789; weights MizzenAI/HPSv3, the code is of hpsv3 1.0.0, which
needs a transformers of 2024. What it does, and this module with it: an image is resized to about
448 x 448 pixels; positions count up token by token, without Qwen2-VL's rows and columns of an
image; the head reads the state of the token ``<|Reward|>``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AddedToken, AutoConfig, AutoProcessor, Qwen2VLModel

from hypernoise.rewards.protocol import Features
from hypernoise.text_files import read_text
from hypernoise.weights.hub import check_commit
from hypernoise.weights.pinned_files import PinnedFile, fill, init_empty_weights, read
from hypernoise.weights.small_vlm import lay_small
from hypernoise.weights.stand_ins import Shelf, commit_of, spread
from hypernoise.weights.whole_network import hush_transformers

REWARD = "<|Reward|>"
#: Where the wording has the prompt.
PLACE = "{text_prompt}"
#: Constants of the original's file that make up the wording, in their order.
_CONSTANTS = ("INSTRUCTION", "prompt_with_special_token")
_WIDTHS = (1024, 16)
#: Published name -> ours.
_RENAMED = (
    (r"^visual\.", "model.visual."),
    (r"^model\.(layers|norm|embed_tokens)\.", r"model.language_model.\1."),
    (r"^rm_head\.", "head."),
)
_EMBEDDING = "model.language_model.embed_tokens.weight"


class HPSv3:
    """The mean of the preference, about -5 to 15; prompts are read whole.

    Differentiable: pixels go through Qwen2-VL's own processor as floats.

    Args:
        weights: checkpoint with the names of hpsv3 1.0.0.
        wording: Python file with the text that the prompt is asked in, of which two constants are
            read and nothing is run: ``INSTRUCTION`` and ``prompt_with_special_token``.
        model: folder or hub name of the Qwen2-VL whose configuration and processor are taken.
        revision: commit of the hub repository.
        pixels: of the image that the network sees, about.
        dtype: of the network; the head is float32.
        device: torch device.
        name: what tables and messages call it.

    Raises:
        ValueError: a model of the hub without a commit, weights of another form, or a wording
            without its constants.
    """

    def __init__(
        self,
        weights: str,
        wording: str,
        model: str,
        revision: str = "",
        pixels: int = 256 * 28 * 28,
        dtype: torch.dtype = torch.bfloat16,
        device: str = "cpu",
        name: str = "hpsv3",
    ) -> None:
        self.name = name
        if not Path(model).is_dir():
            check_commit(model, revision)
        source = {"revision": revision} if revision else {}
        self.wording = wording_of(PinnedFile.parse(wording).fetch())
        hush_transformers()
        load: Any = AutoProcessor.from_pretrained
        self.processor = load(model, **source)
        self.processor.tokenizer.padding_side = "right"
        self.processor.tokenizer.add_tokens([AddedToken(REWARD, special=True)])
        self._token = self.processor.tokenizer.convert_tokens_to_ids(REWARD)
        tensors = renamed(read(PinnedFile.parse(weights).fetch()))
        config: Any = AutoConfig.from_pretrained(model, **source)
        # The original cuts the vocabulary to the tokens that there are, and its own one.
        config.text_config.vocab_size = len(tensors.get(_EMBEDDING, ()))
        if self._token >= config.text_config.vocab_size:
            raise ValueError(f"weights {weights} have no embedding of {REWARD} at {self._token}")
        with init_empty_weights(include_buffers=False):
            network = Network(config)
        fill(network, tensors, weights)
        self.network = network.to(device)
        self.network.model.to(dtype)
        size = {"shortest_edge": pixels, "longest_edge": pixels}
        self._resizing = {"do_rescale": False, "size": size}

    @classmethod
    def stand_in(
        cls, shelf: Shelf, *, weights: str, wording: str, model: str, revision: str = "", **_: Any
    ) -> dict[str, Any]:
        """As :class:`hypernoise.weights.stand_ins.HasStandIn` says, under the published names."""
        commit = commit_of(model, revision)
        folder = shelf.repository(model, commit)
        lay_small(folder, "qwen2_vl")
        config: Any = AutoConfig.from_pretrained(folder)
        config.text_config.vocab_size += 1
        tensors = published_names(spread(Network(config)).state_dict())
        texts = zip(_CONSTANTS, (f"Rate {PLACE}. ", f"It is {REWARD}"), strict=True)
        lines = "".join(f"{name} = {text!r}\n" for name, text in texts)
        return {
            "weights": shelf.file(weights, tensors),
            "wording": shelf.file(wording, lines.encode()),
            "revision": commit,
            "pixels": (2 * config.vision_config.patch_size) ** 2 * 4,
        }

    def encode(self, prompts: Sequence[str]) -> Features:
        """The prompts: they are read together with an image.

        Raises:
            ValueError: a prompt has the token that the score is read at.
        """
        for prompt in prompts:
            if REWARD in prompt:
                raise ValueError(f"reward {self.name!r} takes no prompt with {REWARD}: {prompt!r}")
        return Features({}, tuple(prompts))

    def score(self, images: Tensor, features: Features) -> Tensor:
        """Means [B] of images [B, 3, H, W] in [0, 1]."""
        return self.mean_and_sigma(images, features)[0]

    def mean_and_sigma(self, images: Tensor, features: Features) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B] of the preference for each image, both differentiable."""
        texts = [
            self.processor.apply_chat_template(
                _chat(self.wording.replace(PLACE, prompt)),
                add_generation_prompt=True,
                tokenize=False,
            )
            for prompt in features.prompts
        ]
        inputs = self.processor(
            images=list(images.float()),
            text=texts,
            padding=True,
            return_tensors="pt",
            images_kwargs=self._resizing,
        ).to(self.network.head[0].weight.device)
        read_out: Tensor = self.network(inputs, self._token)
        return read_out[:, 0], read_out[:, 1].exp()


class Network(nn.Module):
    """Qwen2-VL without its words' head, and the head of preferences.

    Args:
        config: transformers' Qwen2VLConfig.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.model: Any = Qwen2VLModel(config)
        wide, narrow = _WIDTHS
        # The original's dropout counts in the names of the weights.
        self.head: Any = nn.Sequential(
            nn.Linear(config.text_config.hidden_size, wide),
            nn.ReLU(),
            nn.Identity(),
            nn.Linear(wide, narrow),
            nn.ReLU(),
            nn.Linear(narrow, 2),
        )

    def forward(self, inputs: Mapping[str, Tensor], token: int) -> Tensor:
        """Mean and the logarithm of sigma, [B, 2], where each text has the token."""
        ids = inputs["input_ids"]
        hidden = self.model(
            input_ids=ids,
            attention_mask=inputs["attention_mask"],
            position_ids=torch.arange(ids.shape[1], device=ids.device).expand(3, *ids.shape),
            pixel_values=inputs["pixel_values"].to(self.model.dtype),
            image_grid_thw=inputs["image_grid_thw"],
            use_cache=False,
        ).last_hidden_state
        read_out: Tensor = self.head(hidden[ids == token].float())
        return read_out


def wording_of(path: Path) -> str:
    """The text that a prompt is asked in, out of a Python file's constants; nothing is run.

    Raises:
        ValueError: it is no Python file, or lacks a constant or the prompt's place.
    """
    try:
        nodes = ast.parse(read_text(path)).body
    except SyntaxError as error:
        raise ValueError(f"{path} is no Python file: {error}") from error
    texts = {
        target.id: node.value.value
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }
    wording = "".join(texts.get(name, "") for name in _CONSTANTS)
    if wording.count(PLACE) != 1 or wording.count(REWARD) != 1:
        raise ValueError(
            f"{path}: {' and '.join(_CONSTANTS)} must have {PLACE} and {REWARD} once each"
        )
    return wording


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published names as this module has them, without the head of words."""
    found = {}
    for name, value in tensors.items():
        if not name.startswith("lm_head."):
            for pattern, replacement in _RENAMED:
                name, changed = re.subn(pattern, replacement, name)
                if changed:
                    break
            found[name] = value
    return found


def published_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The other way round: our names as the publishers have them."""
    names = {
        name: re.sub(r"^head\.", "rm_head.", re.sub(r"^model\.(visual\.)", r"\1", name)).replace(
            "model.language_model.", "model."
        )
        for name in tensors
    }
    return {names[name]: value for name, value in tensors.items()}


def _chat(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
