"""The judge's network: a convolutional network whose channels the caption scales and shifts.

It has nothing of :class:`hypernoise.shapeworld.matcher_network.MatcherNetwork` but its words: the
caption is read in order by a recurrent network, and it conditions the picture (FiLM, Perez et al.
2018, arXiv 1709.07871) where the matcher's words look at it by attention.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hypernoise.shapeworld.captions import COLORS, SHAPES, vocabulary
from hypernoise.shapeworld.scenes import GRID

_PADDING = 0


class JudgeNetwork(nn.Module):
    """Logits of image-caption pairs.

    Args:
        width: channels of the picture at 8 x 8.
        blocks: residual blocks that the caption conditions.
        text_width: of the words and of the network that reads them.
    """

    def __init__(self, width: int = 64, blocks: int = 4, text_width: int = 96) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"width": width, "blocks": blocks, "text_width": text_width}
        self.image = nn.Sequential(
            nn.Conv2d(3, width // 2, 5, stride=2, padding=2),
            nn.GroupNorm(4, width // 2),
            nn.GELU(),
            nn.Conv2d(width // 2, width // 2, 3, padding=1),
            nn.GroupNorm(4, width // 2),
            nn.GELU(),
            nn.Conv2d(width // 2, width, 5, stride=2, padding=2),
            nn.GroupNorm(8, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.GELU(),
        )
        self.at_places = nn.Conv2d(width, 1 + len(SHAPES) + len(COLORS), 1)
        self.words = nn.Embedding(len(vocabulary()) + 2, text_width, padding_idx=_PADDING)
        self.reader = nn.GRU(text_width, text_width, batch_first=True)
        self.conditions = nn.Linear(text_width, 2 * width * blocks)
        self.entries = nn.ModuleList(nn.Conv2d(width + 2, width, 1) for _ in range(blocks))
        self.bodies = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.GroupNorm(8, width, affine=False) for _ in range(blocks))
        self.head = nn.Sequential(
            nn.Linear(2 * width + text_width, 128), nn.GELU(), nn.Linear(128, 1)
        )

    def image_tokens(self, images: Tensor) -> Tensor:
        """[B, 3, 32, 32] in [0, 1] to [B, width, 8, 8]."""
        found: Tensor = self.image(images * 2 - 1)
        return found

    def objects(self, tokens: Tensor) -> Tensor:
        """Logits [B, 64, 17] at every place: whether an object is there, its shape, its colour."""
        found: Tensor = self.at_places(tokens).flatten(2).transpose(1, 2)
        return found

    def match(self, tokens: Tensor, words: Tensor) -> Tensor:
        """Logits [B] of tokens [B, width, 8, 8] against word ids [B, 12]."""
        lengths = (words != _PADDING).sum(dim=1)
        states, _ = self.reader(self.words(words))
        read = states[torch.arange(len(words)), lengths - 1]
        axis = torch.linspace(-1, 1, GRID, device=tokens.device, dtype=tokens.dtype)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))
        places = grid.expand(len(words), -1, -1, -1)
        scales = self.conditions(read).view(len(words), len(self.entries), 2, -1, 1, 1)
        hidden = tokens
        for n, (entry, body, norm) in enumerate(
            zip(self.entries, self.bodies, self.norms, strict=True)
        ):
            entered = nn.functional.gelu(entry(torch.cat([hidden, places], dim=1)))
            moved = norm(body(entered)) * (1 + scales[:, n, 0]) + scales[:, n, 1]
            hidden = entered + nn.functional.gelu(moved)
        pooled = torch.cat([hidden.mean(dim=(2, 3)), hidden.amax(dim=(2, 3)), read], dim=1)
        logits: Tensor = self.head(pooled).squeeze(-1)
        return logits

    def forward(self, images: Tensor, words: Tensor) -> Tensor:
        return self.match(self.image_tokens(images), words)
