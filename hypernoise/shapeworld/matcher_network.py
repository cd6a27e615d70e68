"""A small image-text matcher, of about half a million parameters, for the embedded world."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hypernoise.shapeworld.captions import COLORS, SHAPES, plural, vocabulary
from hypernoise.shapeworld.scenes import GRID

MAX_WORDS = 12
_PADDING = 0


class MatcherNetwork(nn.Module):
    """Convolutional image tokens, read by the caption's words through cross-attention.

    Args:
        width: channels of image tokens and words.
        layers: decoder layers.
        stem: channels at full and half resolution.
    """

    def __init__(self, width: int = 96, layers: int = 3, stem: Sequence[int] = (24, 48)) -> None:
        super().__init__()
        self.config = {"width": width, "layers": layers, "stem": list(stem)}
        fine, coarse = stem
        self.image = nn.Sequential(
            nn.Conv2d(3, fine, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(fine, coarse, 4, stride=2, padding=1),
            nn.GroupNorm(8, coarse),
            nn.SiLU(),
            nn.Conv2d(coarse, coarse, 3, padding=1),
            nn.GroupNorm(8, coarse),
            nn.SiLU(),
            nn.Conv2d(coarse, width, 4, stride=2, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.image_norm = nn.LayerNorm(width)
        self.image_positions = nn.Parameter(0.1 * torch.randn(GRID * GRID, width))
        self.words = nn.Embedding(len(vocabulary()) + 2, width, padding_idx=_PADDING)
        self.word_positions = nn.Parameter(0.1 * torch.randn(MAX_WORDS, width))
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True,
                norm_first=True,
            )
            for _ in range(layers)
        )  # fmt: skip
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
        self.objects = nn.Linear(width, 1 + len(SHAPES) + len(COLORS))

    def image_tokens(self, images: Tensor) -> Tensor:
        """[B, 3, 32, 32] in [0, 1] to [B, 64, width]."""
        grid = self.image(images * 2 - 1)
        tokens: Tensor = self.image_norm(grid.flatten(2).transpose(1, 2)) + self.image_positions
        return tokens

    def match(self, tokens: Tensor, words: Tensor) -> Tensor:
        """Logits [B] of image tokens [B, 64, width] against word ids [B, 12]."""
        padded = words == _PADDING
        hidden = self.words(words) + self.word_positions
        for layer in self.layers:
            hidden = layer(hidden, tokens, tgt_key_padding_mask=padded)
        kept = (~padded).unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * kept).sum(dim=1) / kept.sum(dim=1)
        logits: Tensor = self.head(pooled).squeeze(-1)
        return logits

    def forward(self, images: Tensor, words: Tensor) -> Tensor:
        return self.match(self.image_tokens(images), words)


def word_ids(prompts: Sequence[str]) -> Tensor:
    """Word ids [B, 12] of captions, padded with 0.

    A plural is its singular and a mark: a matcher that has never read "hearts" knows hearts.

    Raises:
        ValueError: a word is not in the world's vocabulary, or a caption is too long or empty.
    """
    known = {word: index for index, word in enumerate(vocabulary(), start=1)}
    mark = len(known) + 1
    known_plurals = {plural(shape): [known[shape], mark] for shape in SHAPES}
    ids = torch.full((len(prompts), MAX_WORDS), _PADDING, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        words = prompt.lower().split()
        unknown = [word for word in words if word not in known]
        length = len(words) + sum(word in known_plurals for word in words)
        if unknown or not 0 < length <= MAX_WORDS:
            raise ValueError(
                f"the shape matcher cannot read {prompt!r}: "
                f"unknown words {unknown}, {length} words (1 to {MAX_WORDS}, a plural is two)"
            )
        read = [i for word in words for i in known_plurals.get(word, [known[word]])]
        ids[row, : len(read)] = torch.tensor(read)
    return ids
