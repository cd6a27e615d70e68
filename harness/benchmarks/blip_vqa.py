"""BLIP-VQA: questions about an image, answered by the model that T2I-CompBench asks.

Source: BLIP, arXiv 2201.12086, its ViT-B model fine-tuned on VQA at 480 px; ``vqa_prob`` in
``BLIPvqa_eval/models/blip_vqa.py`` of T2I-CompBench. The networks are transformers'. Of what
its processor and ``generate`` do, the original does differently, and so does this module: images
are squeezed to 480 px rather than 384, a question starts with ``[ENC]`` rather than ``[CLS]``, the
decoder never sees padding, and only the first token's ``yes`` and ``no`` count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import InterpolationMode  # type: ignore[import-untyped]
from torchvision.transforms import functional as transforms
from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering

from harness.benchmarks.protocol import Images
from harness.benchmarks.questions import Probabilities, grouped, pairs
from hypernoise.images import to_uint8
from hypernoise.rewards import imagereward
from hypernoise.rewards.preprocessing import normalized
from hypernoise.weights.pinned_files import PinnedFile, fill, init_empty_weights, read
from hypernoise.weights.stand_ins import Shelf, spread

MAX_TOKENS = 35
MAX_WORDS = 50
#: ViT-B/16 as BLIP builds it, at the size of the published fine-tuning.
VISION: Mapping[str, Any] = {
    **imagereward.VISION,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 480,
}
_POSITIONS = "vision_model.embeddings.position_embedding"
_VISUAL = "visual_encoder."
_REMOVED = re.compile(r"[.!\"()*#:;~]")


class BlipVqa:
    """Answers by BLIP-VQA; each image is encoded once for all its questions.

    Args:
        weights: ``model_base_vqa_capfilt_large.pth`` of BLIP's authors, or ``model.safetensors`` of
            ``Salesforce/blip-vqa-base``, which has the same weights but for positions that were
            brought to 384 px; pinned (:mod:`hypernoise.weights.pinned_files`).
        vocabulary: ``vocab.txt`` of bert-base-uncased, pinned likewise.
        vision: changes to :data:`VISION`, fields of transformers' BlipVisionConfig.
        text: changes to the text encoder's and decoder's fields of transformers' BlipTextConfig;
            both are as wide as the image encoder.
        batch_size: images, and questions, that go through a network together.
        device: torch device.

    Raises:
        ValueError: a file to download has no hash.
        FileNotFoundError: a local file is missing.
    """

    def __init__(
        self,
        weights: str,
        vocabulary: str,
        vision: Mapping[str, Any] | None = None,
        text: Mapping[str, Any] | None = None,
        batch_size: int = 32,
        device: str = "cpu",
    ) -> None:
        self._weights = PinnedFile.parse(weights)
        self._vocabulary = PinnedFile.parse(vocabulary)
        for file in (self._weights, self._vocabulary):
            file.check()
        self._vision = {**VISION, **(vision or {})}
        self._text = {**imagereward.TEXT, **(text or {})}
        self._batch_size = batch_size
        self._device = device

    @classmethod
    def stand_in(cls, shelf: Shelf, *, weights: str, vocabulary: str, **_: Any) -> dict[str, Any]:
        """As :class:`hypernoise.weights.stand_ins.HasStandIn` says, under its authors' names."""
        words = imagereward.small_vocabulary()
        vision = {**VISION, **imagereward.SMALL_VISION}
        text = {**imagereward.TEXT, **imagereward.SMALL_TEXT, "vocab_size": len(words) + 2}
        config = BlipConfig(text_config=text, vision_config=vision)
        network = spread(BlipForQuestionAnswering(config))
        ours = {
            n.replace("vision_model.", "vision.", 1): t for n, t in network.state_dict().items()
        }
        named = imagereward.published_names(ours)
        return {
            "weights": shelf.file(weights, {n.removeprefix("blip."): t for n, t in named.items()}),
            "vocabulary": shelf.file(vocabulary, "\n".join(words).encode()),
            "vision": imagereward.SMALL_VISION,
            "text": imagereward.SMALL_TEXT,
        }

    def yes_probability(self, images: Images, questions: Sequence[Sequence[str]]) -> Probabilities:
        """As :class:`harness.benchmarks.questions.Answerer` says: P(yes) / (P(yes) + P(no))."""
        sizes = [len(those) for those in questions]
        places = pairs(sizes)
        tokens = self.tokens([questions[image][place] for image, place in places])
        seen = self._see(images)
        values = [0.0] * len(places)
        for part in batches([len(ids) for ids in tokens], self._batch_size):
            asked = torch.tensor([tokens[index] for index in part], device=self._device)
            answers = self._answer(seen[[places[index][0] for index in part]], asked)
            for index, value in zip(part, answers.tolist(), strict=True):
                values[index] = value
        return grouped(values, sizes)

    @torch.no_grad()
    def _see(self, images: Images) -> Tensor:
        vision = self.network.vision_model
        starts = range(0, len(images), self._batch_size)
        parts = [torch.from_numpy(images[start : start + self._batch_size]) for start in starts]
        return torch.cat([vision(self._pixels(part)).last_hidden_state for part in parts])

    def _pixels(self, images: Tensor) -> Tensor:
        size = [self._vision["image_size"]] * 2
        squeezed = [
            transforms.resize(Image.fromarray(pixels), size, InterpolationMode.BICUBIC)
            for pixels in to_uint8(images)
        ]
        pixels = torch.stack([transforms.to_tensor(image) for image in squeezed])
        return normalized(pixels).to(self._device)

    @torch.no_grad()
    def _answer(self, seen: Tensor, asked: Tensor) -> Tensor:
        """P(yes) / (P(yes) + P(no)), [Q], of features [Q, patches, width] and ids [Q, tokens]."""
        states = self.network.text_encoder(asked, encoder_hidden_states=seen).last_hidden_state
        start = torch.full((len(asked), 1), self._first_special, device=self._device)
        logits = self.network.text_decoder(start, encoder_hidden_states=states).logits[:, 0]
        words: Tensor = logits.float().softmax(dim=-1)[:, self._words]
        return words[:, 0] / words.sum(dim=-1)

    def tokens(self, questions: Sequence[str]) -> list[list[int]]:
        """Token ids of questions, each as long as it is."""
        texts = [asked_form(question) for question in questions]
        encoded = self.tokenizer(texts, truncation=True, max_length=MAX_TOKENS)
        return [[self._first_special + 1, *ids[1:]] for ids in encoded["input_ids"]]

    @cached_property
    def network(self) -> Any:
        """A BlipForQuestionAnswering of transformers with the weights, frozen."""
        first = self._first_special
        text = {**self._text, "vocab_size": first + 2, "bos_token_id": first}
        config = BlipConfig(text_config=text, vision_config=dict(self._vision))
        with init_empty_weights(include_buffers=False):
            network: Any = BlipForQuestionAnswering(config)
        fill(network, self._tensors(network), self._weights.place)
        return network.to(self._device)

    def _tensors(self, network: Any) -> dict[str, Tensor]:
        tensors = renamed(read(self._weights.fetch()))
        for name, tied_to in network._tied_weights_keys.items():
            if name not in tensors and tied_to in tensors:
                tensors[name] = tensors[tied_to]
        n_patches = (self._vision["image_size"] // self._vision["patch_size"]) ** 2
        if _POSITIONS in tensors:
            tensors[_POSITIONS] = resized_positions(tensors[_POSITIONS], n_patches)
        return tensors

    @cached_property
    def tokenizer(self) -> Any:
        """bert-base-uncased's."""
        return BertTokenizer(vocab=str(self._vocabulary.fetch()))

    @property
    def _first_special(self) -> int:
        # [DEC] and [ENC] follow the vocabulary, in this order.
        return len(self.tokenizer.get_vocab())

    @cached_property
    def _words(self) -> list[int]:
        ids = self.tokenizer.convert_tokens_to_ids(["yes", "no"])
        if self.tokenizer.unk_token_id in ids:
            raise ValueError(f"vocabulary {self._vocabulary.place} lacks 'yes' or 'no'")
        return list(ids)


def batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices of questions that go through a network together: all of one length.

    transformers 5.23 has no mask in the decoder's cross-attention (it is passed, and dropped), so
    that padding would change answers by several hundredths.
    """
    found: list[list[int]] = []
    for length in sorted(set(lengths)):
        same = [index for index, other in enumerate(lengths) if other == length]
        found += [same[start : start + batch_size] for start in range(0, len(same), batch_size)]
    return found


def asked_form(question: str) -> str:
    """A question as the original asks it: in lower case, without some signs, at most 50 words."""
    words = _REMOVED.sub("", question.lower()).rstrip(" ").split(" ")
    return " ".join(words[:MAX_WORDS])


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' names as transformers has them; transformers' own stay."""
    # ImageReward's image encoder is BLIP's, and has its names.
    visual = {f"blip.{name}": t for name, t in tensors.items() if name.startswith(_VISUAL)}
    found = {
        name.replace("vision.", "vision_model.", 1): tensor
        for name, tensor in imagereward.renamed(visual).items()
    }
    others = (name for name in tensors if not name.startswith(_VISUAL))
    return found | {name: tensors[name] for name in others if not name.endswith("position_ids")}


def resized_positions(positions: Tensor, n_patches: int) -> Tensor:
    """Position embeddings [1, 1 + m, width] for another number of patches, as BLIP resizes them.

    The first one, of the class token, stays; the others are a square grid, resized bicubically.
    """
    n_given = positions.shape[1] - 1
    if n_given == n_patches:
        return positions
    given, wanted = (int(np.sqrt(n)) for n in (n_given, n_patches))
    grid = positions[:, 1:].reshape(len(positions), given, given, -1).movedim(-1, 1)
    grid = functional.interpolate(grid.float(), (wanted, wanted), mode="bicubic")
    return torch.cat([positions[:, :1], grid.movedim(1, -1).flatten(1, 2)], dim=1)
