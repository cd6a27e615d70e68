"""Image files as pixels: the same whether other processes decode them ahead or not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from harness.results import image_files
from harness.results.image_files import ImageReader, check_intact, decoded, n_workers, upright
from hypernoise.images import to_uint8

SIZE = (6, 5)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Seven files, of which each pixel tells the number."""
    made = [tmp_path / f"{number}.png" for number in range(7)]
    for number, path in enumerate(made):
        pixels = np.arange(90, dtype=np.uint8).reshape(5, 6, 3) + np.uint8(90 * (number % 2))
        pixels[0, 0] = number
        Image.fromarray(pixels).save(path)
    return made


def test_processes_that_decode_ahead_change_no_bit_and_no_order(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two images at a time, so that some are decoded ahead and some not yet asked for.
    monkeypatch.setattr(image_files, "_AHEAD_PIXELS", 60)
    expected = np.stack([np.asarray(Image.open(p), dtype=np.float32) / 255 for p in paths])
    with ImageReader(paths, 0) as alone, ImageReader(paths, 1) as helped:
        for first, n in ((0, 3), (3, 3), (6, 1)):
            batch = helped.batch(first, n)
            assert batch.dtype == np.float32
            assert batch.flags["C_CONTIGUOUS"]
            assert batch.tobytes() == alone.batch(first, n).tobytes()
            assert np.array_equal(batch.transpose(0, 2, 3, 1), expected[first : first + n])
            # What memory did not suffice for is read again in parts.
            assert np.array_equal(helped.batch(first, 1)[0], batch[0])


def test_what_is_decoded_ahead_is_bounded(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_files, "_AHEAD_PIXELS", 2 * 30)
    with ImageReader(paths, 1) as reader:
        kept = []
        for first in range(6):
            reader.pixels(first)
            kept.append(sorted(reader._found))
    assert kept == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6], [5, 6]]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_named_and_the_others_are_read(paths: list[Path], workers: int) -> None:
    paths[1].write_bytes(b"no image")
    paths[2].unlink()
    Image.new("RGB", (4, 4)).save(paths[4])
    with ImageReader(paths, workers) as reader:
        assert reader.pixels(0)[0][0, 0, 0] == 0
        for broken in (1, 2):
            with pytest.raises(ValueError, match=rf"{broken}\.png cannot be read"):
                reader.pixels(broken)
        with pytest.raises(ValueError, match=r"4\.png has another size than .*3\.png"):
            reader.batch(3, 2)
        assert reader.pixels(6)[0][0, 0, 0] == 6


def chunks(path: Path) -> list[tuple[int, bytes, int]]:
    """(place, type, length) of the parts of a PNG."""
    content, found, place = path.read_bytes(), [], 8
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        found.append((place, content[place + 4 : place + 8], length))
        place += 12 + length
    return found


def changed(path: Path, place: int, to: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[place : place + len(to)] = to
    path.write_bytes(content)


def noise(path: Path) -> Path:
    """An image whose data does not fit into one part."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_damaged_png_is_found_by_its_checksums_and_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = noise(tmp_path / "a.png")
    monkeypatch.delattr(PngImageFile, "load_prepare")
    with pytest.raises(AttributeError):
        decoded(str(path))
    check_intact(str(path))
    place, _, length = next(part for part in chunks(path) if part[1] == b"IDAT")
    byte = path.read_bytes()[place + 8 + length // 2]
    changed(path, place + 8 + length // 2, bytes([byte ^ 1]))
    with pytest.raises(ValueError, match=r"a\.png cannot be read"):
        check_intact(str(path))


@pytest.mark.parametrize("read", [check_intact, decoded, upright])
@pytest.mark.parametrize("fault", ["cut", "no data", "other part"])
def test_every_fault_of_a_png_is_a_message_with_its_name(
    tmp_path: Path, fault: str, read: Callable[[str], object]
) -> None:
    path = noise(tmp_path / "a.png")
    data = [part for part in chunks(path) if part[1] == b"IDAT"]
    if fault == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif fault == "other part":
        changed(path, data[1][0] + 4, b"\0\0\0\0")
    else:
        content = path.read_bytes()
        path.write_bytes(content[: data[0][0]] + content[chunks(path)[-1][0] :])
    with pytest.raises(ValueError, match=r"a\.png cannot be read"):
        read(str(path))


def test_an_image_without_checksums_is_decoded_to_be_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.open(noise(path)).save(path, "JPEG")
    check_intact(str(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"a\.png cannot be read: .*truncated"):
        check_intact(str(path))


def test_a_process_that_is_killed_is_reported_with_what_was_read(paths: list[Path]) -> None:
    with ImageReader(paths, 1) as reader:
        reader.pixels(0)
        assert reader._pool is not None
        for process in list(reader._pool._processes.values()):
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
        reader._found.clear()
        with pytest.raises(ChildProcessError, match=r"was killed, with .*1\.png or a later one"):
            reader.pixels(1)


def test_small_and_few_images_are_decoded_where_they_are_used(
    paths: list[Path], tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    Image.new("RGB", (1024, 1024)).save(large)
    many, few = [large] * 32, [large] * 31
    assert [n_workers(many, threads) for threads in (1, 2, 4, 64)] == [0, 1, 3, 8]
    assert n_workers(few, 4) == 0
    # As many pixels, but of images that are small.
    assert n_workers(paths[:1] * (32 * 1024 * 1024), 4) == 0
    assert n_workers([], 4) == 0
    # The file is named when it is read.
    assert n_workers([tmp_path / "lost.png", *many], 4) == 0


def test_a_cameras_orientation_is_applied_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE, (255, 0, 0)).save(path, exif=exif)
    assert decoded(str(path)).shape == (5, 6, 3)
    assert upright(str(path)).shape == (6, 5, 3)
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"turned\.jpg cannot be read"):
        upright(str(path))


def test_every_value_of_a_byte_survives_the_way_to_disk_and_back(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    image = np.stack([ramp, ramp[:, ::-1], ramp[:, :, ::-1]], axis=-1)[0]
    Image.fromarray(image).save(tmp_path / "a.png")
    with ImageReader([tmp_path / "a.png"], 0) as reader:
        loaded = reader.batch(0, 1)
    assert loaded.shape == (1, 3, 16, 16)
    restored = to_uint8(torch.from_numpy(loaded))
    assert np.array_equal(restored[0], image)
