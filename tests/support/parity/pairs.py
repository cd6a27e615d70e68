"""Images and prompts that originals and we score: odd sizes, long prompts, grey, RGBA and more."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from skimage import data

LONG = (
    "a highly detailed matte painting of an astronaut who drinks coffee beside a tabby cat in a "
    "small kitchen of a spaceship, volumetric light, dust in the air, warm colours, wide angle, "
    "35 mm, film grain, by an unknown master of the late nineteenth century, trending, sharp, "
    "octane render, intricate, elegant, smooth, cinematic composition, depth of field, and far in "
    "the background, seen through a round window, a rocket that has just left the launch pad"
)


def photographs() -> dict[str, Image.Image]:
    """scikit-image's own photographs by name, as PIL images of their own modes."""
    names = ("astronaut", "chelsea", "coffee", "rocket", "camera", "coins", "page", "logo")
    return {name: Image.fromarray(np.asarray(getattr(data, name)())) for name in names}


def _see_through(image: Image.Image) -> Image.Image:
    """An alpha that grows from left to right, with holes."""
    height, width = image.height, image.width
    ramp = np.tile(np.linspace(0, 255, width), (height, 1))
    ramp[height // 4 : height // 2, width // 4 : width // 2] = 0
    rgba = np.dstack([np.asarray(image.convert("RGB")), ramp.astype(np.uint8)])
    return Image.fromarray(rgba)


def pairs() -> list[tuple[str, Image.Image, str]]:
    """(name, image, prompt) of all cases."""
    photo = photographs()
    astronaut, cat, coffee = photo["astronaut"], photo["chelsea"], photo["coffee"]
    rocket, camera = photo["rocket"], photo["camera"]
    found: list[tuple[str, Any, str]] = [
        ("square", astronaut, "a photo of an astronaut"),
        ("another prompt", astronaut, "a photo of a blue bench"),
        ("wide", cat, "a tabby cat looks into the camera"),
        ("wide, even margin", coffee, "A cup of COFFEE on a wooden table, with a spoon."),
        ("tall", rocket.transpose(Image.Transpose.ROTATE_90), "a rocket on its launch pad"),
        ("wide, long prompt", rocket, LONG),
        ("square, long prompt", astronaut, LONG),
        ("odd", astronaut.crop((3, 5, 340, 222)), "half of an astronaut"),
        ("odd and tall", cat.crop((100, 0, 261, 299)), "a cat, cut in two"),
        ("very wide", coffee.crop((0, 150, 600, 249)), "a strip of a cup"),
        ("very tall", rocket.crop((300, 0, 371, 427)), "the tower of a rocket"),
        ("size of the network", astronaut.resize((224, 224)), "a small astronaut"),
        ("height of the network", coffee.resize((337, 224)), "a cup"),
        ("smaller than the network", cat.resize((113, 75)), "a tiny cat"),
        ("embedded world's size", coffee.resize((32, 32)), "a photo of a red circle"),
        ("margin of 5 px", cat.resize((229, 224)), "an almost square cat"),
        ("margin of 7 px", cat.resize((224, 231)), "an almost square cat"),
        ("grey", camera, "a man behind a camera on a tripod"),
        ("grey and wide", photo["coins"], "24 old coins"),
        ("grey and small", photo["page"], "a scanned page of a book"),
        ("grey with alpha", _see_through(camera).convert("LA"), "a fading photographer"),
        ("RGBA logo", photo["logo"], "a snake"),
        ("RGBA photograph", _see_through(coffee), "a cup that fades to the left"),
        ("palette", cat.convert("P", palette=Image.Palette.ADAPTIVE), "a cat in 256 colours"),
        ("no words", astronaut, ""),
        ("punctuation", cat, 'it\'s a cat &amp; "nothing" else...  (really?!) #1\n  50% -- ok'),
        ("other scripts", coffee, "una taza de café — 一杯咖啡 ☕ für Ärzte"),
        ("one word many times", coffee, "coffee " * 100),
    ]
    return found
