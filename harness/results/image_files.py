"""Image files as pixels; of many large ones the next are decoded while a batch is worked on.

Standard library, numpy and Pillow only: the processes that decode import little else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from harness.base.parents import end_with

#: [H, W, 3], as they are on disk.
Bytes: TypeAlias = NDArray[np.uint8]
_T = TypeVar("_T")

#: Smaller images are decoded in less time than it takes to hand them from process to process.
_SMALLEST_PIXELS = 256 * 256
#: Fewer pixels, in all, take no more than the second or so in which processes start.
_FEWEST_PIXELS = 32 * 1024 * 1024
#: Decoded ahead at most, three bytes each.
_AHEAD_PIXELS = 64 * 1024 * 1024
_MOST_WORKERS = 8
#: What Pillow raises over broken files, by format and by where the fault is.
FAULTS = (OSError, SyntaxError, ValueError, IndexError, EOFError, Image.DecompressionBombError)
_MOST_OF_16_BITS = 65535
#: The chunk IEND, whole.
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
#: Pillow goes by a file's content, not by its name, and hands PostScript to another program.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "PPM")


def open_image(path: str | Path | BinaryIO) -> Image.Image:
    """An image file, or what one holds, not decoded yet, of a format that Pillow decodes itself.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is no image of such a format.
    """
    return Image.open(path, formats=_FORMATS)


def is_whole_png(path: Path) -> bool:
    """Whether a file is there that ends as a PNG does: a power cut may leave less of it."""
    try:
        with path.open("rb") as file:
            file.seek(-len(_PNG_END), os.SEEK_END)
            return file.read() == _PNG_END
    except OSError:
        return False


def rgb(image: Image.Image) -> Image.Image:
    """An image with three channels of 8 bits; 16 bits are scaled, where Pillow would cut them off.

    Raises:
        ValueError: it has 32 bits or floats, of which nobody can say what is white.
    """
    if not image.mode.startswith(("I", "F")):
        return image.convert("RGB")
    # Pillow's modes of 16 bits are I;16 and, of some formats, I, which could hold more.
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > _MOST_OF_16_BITS:
        raise ValueError(f"it has pixels of mode {image.mode}; save it with 8 bits a channel")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8)).convert(
        "RGB"
    )


def decoded(path: str) -> Bytes:
    """The pixels of an image file.

    Raises:
        ValueError: the file is no readable image.
    """
    return _opened(path, lambda image: np.asarray(rgb(image)))


def upright(path: str) -> Bytes:
    """As :func:`decoded`, turned as a camera says that it has to be."""
    return _opened(path, lambda image: np.asarray(rgb(ImageOps.exif_transpose(image))))


def check_intact(path: str) -> None:
    """Check that a file is whole: a PNG by its checksums, another image by decoding it.

    Of 3,000 PNGs that were cut or changed at random, checksums found every one that decoding finds,
    and 7 more. What they cannot find is a PNG that was written wrongly.

    Raises:
        ValueError: the file is no readable image.
    """
    _opened(path, lambda image: image.verify() if image.format == "PNG" else image.load())


def _opened(path: str, use: Callable[[Image.Image], _T]) -> _T:
    try:
        with open_image(path) as image:
            return use(image)
    except FAULTS as error:
        raise ValueError(f"image {path} cannot be read: {error}") from error


def n_workers(paths: Sequence[str | Path], threads: int) -> int:
    """How many processes decode files ahead: one for each thread of the job but the first.

    None where images are small or few (this module's constants, in pixels of the first image): they
    would take longer to start or to answer than decoding takes.
    """
    if threads < 2 or not paths:
        return 0
    try:
        with open_image(paths[0]) as image:
            n_pixels = image.width * image.height
    except FAULTS:
        # Whoever reads it says so, and what else is wrong.
        return 0
    pays = n_pixels >= _SMALLEST_PIXELS and n_pixels * len(paths) >= _FEWEST_PIXELS
    return min(threads - 1, _MOST_WORKERS) if pays else 0


class ImageReader:
    """Files that are read from the first to the last; a context, whose processes end with it.

    It keeps the bytes of what was read last, so that a batch can be read again in parts, and of
    what was decoded ahead.

    Args:
        paths: all files, in the order in which they will be asked for.
        workers: processes that decode ahead; 0 decodes what is asked for, when it is.
        decode: from a file to its pixels; importable by its name.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        workers: int,
        decode: Callable[[str], Bytes] = decoded,
    ) -> None:
        self._paths = [str(path) for path in paths]
        self._decode = decode
        self._found: dict[int, Future[Bytes]] = {}
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            # Not forked: this process may hold threads and a GPU.
            self._pool = ProcessPoolExecutor(
                workers, get_context("spawn"), end_with, (os.getpid(),)
            )

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def pixels(self, first: int, n: int = 1) -> list[Bytes]:
        """The pixels of ``n`` files; ``first`` never falls from call to call.

        Raises:
            ValueError: a file is no readable image.
            ChildProcessError: a process that decodes was killed.
        """
        rows = range(first, first + n)
        if self._pool is None:
            return [self._decode(self._paths[row]) for row in rows]
        try:
            return self._from(self._pool, rows)
        except BrokenProcessPool as error:
            place = f"{self._paths[first]} or a later one"
            raise ChildProcessError(
                f"a process that decodes images was killed, with {place}"
            ) from error

    def batch(self, first: int, n: int) -> NDArray[np.float32]:
        """The same as [N, 3, H, W] in [0, 1].

        Raises:
            ValueError: sizes differ, or as :meth:`pixels`.
        """
        images = self.pixels(first, n)
        for row, image in enumerate(images, start=first):
            if image.shape != images[0].shape:
                raise ValueError(
                    f"image {self._paths[row]} has another size than {self._paths[first]}"
                )
        height, width, channels = images[0].shape
        floats = np.empty((n, channels, height, width), dtype=np.float32)
        for image, out in zip(images, floats, strict=True):
            np.divide(image.transpose(2, 0, 1), np.float32(255), out=out)
        return floats

    def _from(self, pool: ProcessPoolExecutor, rows: range) -> list[Bytes]:
        for row in [row for row in self._found if row < rows.start]:
            del self._found[row]
        self._begin(pool, rows)
        images = [self._found[row].result() for row in rows]
        # Only what is decoded tells how much memory the next ones take.
        height, width, _ = images[-1].shape
        n_ahead = max(1, _AHEAD_PIXELS // int(height * width))
        self._begin(pool, range(rows.stop, rows.stop + n_ahead))
        return images

    def _begin(self, pool: ProcessPoolExecutor, rows: range) -> None:
        for row in rows[: len(self._paths) - rows.start]:
            if row not in self._found:
                self._found[row] = pool.submit(self._decode, self._paths[row])
