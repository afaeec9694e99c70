"""Images as people have them: every bad kind has its reason, every odd kind the right pixels."""

from __future__ import annotations

import io
import os
import pickle
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lile.data.images import ImageError, examine_image, load_image, verify_images
from lile.errors import InputError

RED = (200, 30, 40)


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def jpeg_bytes() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "jpeg")
    return buffer.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises ``width`` x ``height`` pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def noise_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "png")
    return buffer.getvalue()


BAD = {
    "empty.png": (b"", "image_empty", "image_empty"),
    "text.jpg": (b"<html>404 not found</html>", "image_unreadable", "image_unreadable"),
    "broken.jpg": (b"<html>404 not found</html>", "image_unreadable", "image_unreadable"),
    "cut.jpg": (jpeg_bytes()[:1500], "image_truncated", ""),
    "cut.png": (noise_png()[:2000], "image_truncated", ""),
    "bomb.png": (png_of_size(60_000, 60_000), "image_bomb", "image_bomb"),
    "large.png": (png_of_size(10_000, 10_000), "image_bomb", "image_bomb"),
    "1x1.png": (png_of_size(1, 1), "image_too_small", "image_too_small"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_image_has_its_reason(tmp_path, name):
    data, reason, header_reason = BAD[name]
    path = tmp_path / name
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert examine_image(str(path), "decode")[:2] == ("dropped", reason)
        status, found, _ = examine_image(str(path), "header")
    assert (status, found) == (("dropped", header_reason) if header_reason else ("kept", ""))
    with pytest.raises(ImageError, match=reason) as caught:
        load_image(path)
    assert caught.value.reason == reason
    assert str(path) in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_missing_folder_pipe_and_nul(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert examine_image(str(tmp_path / "none.png"), "decode")[1] == "image_missing"
    assert examine_image("a\0b.png", "decode")[1] == "image_missing"
    assert examine_image(str(tmp_path), "decode")[1] == "image_not_a_file"
    assert examine_image(str(tmp_path / "pipe.png"), "decode")[1] == "image_not_a_file"


@pytest.mark.parametrize("name", ["rgb.png", "rgb.tif", "rgb.bmp", "rgb.webp"])
def test_plain_image_is_kept_as_it_is(tmp_path, name):
    pixels = np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    path = saved(tmp_path / name, Image.fromarray(pixels), **({"lossless": True} if name.endswith("webp") else {}))
    np.testing.assert_array_equal(np.asarray(load_image(path)), pixels)
    assert examine_image(str(path), "decode") == ("kept", "", "")


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_16_bit_is_scaled_not_clipped(tmp_path, name):
    samples = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    image = load_image(saved(tmp_path / name, Image.fromarray(samples)))
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image)[..., 0].ravel(), np.arange(256))


def test_12_bit_values_in_16_bits_are_told(tmp_path):
    samples = np.full((16, 16), 4000, np.uint16)
    path = saved(tmp_path / "dark.png", Image.fromarray(samples))
    assert examine_image(str(path), "decode")[:2] == ("warned", "image_16bit_dark")
    assert np.asarray(load_image(path)).max() == round(4000 / 257)


@pytest.mark.parametrize(
    ("samples", "first", "last", "status"),
    [
        (np.linspace(0, 1, 256, dtype=np.float32), 0, 255, "kept"),
        (np.linspace(0, 255, 256, dtype=np.float32), 0, 255, "kept"),
        (np.linspace(-5, 900, 256, dtype=np.float32), 0, 255, "warned"),
        (np.arange(256, dtype=np.int32), 0, 255, "kept"),
        (np.arange(256, dtype=np.int32) * 1_000_000, 0, 255, "warned"),
    ],
)
def test_32_bit_and_float(tmp_path, samples, first, last, status):
    path = saved(tmp_path / "a.tif", Image.fromarray(samples.reshape(16, 16)))
    pixels = np.asarray(load_image(path))[..., 0].ravel()
    assert (pixels[0], pixels[-1]) == (first, last)
    assert examine_image(str(path), "decode")[0] == status


def test_cmyk_palette_and_grey(tmp_path):
    red = Image.new("RGB", (32, 32), RED)
    cmyk = load_image(saved(tmp_path / "cmyk.jpg", red.convert("CMYK"), quality=100))
    palette = load_image(saved(tmp_path / "palette.png", red.convert("P", palette=Image.Palette.ADAPTIVE)))
    grey = load_image(saved(tmp_path / "grey.png", Image.new("L", (32, 32), 90)))
    one_bit = load_image(saved(tmp_path / "one.png", Image.new("1", (32, 32), 1)))
    assert {image.mode for image in (cmyk, palette, grey, one_bit)} == {"RGB"}
    assert np.abs(np.asarray(cmyk)[0, 0].astype(int) - RED).max() <= 3
    assert palette.getpixel((0, 0)) == RED
    assert grey.getpixel((0, 0)) == (90, 90, 90)
    assert one_bit.getpixel((0, 0)) == (255, 255, 255)


def test_transparency_lies_on_white(tmp_path):
    layer = Image.new("RGBA", (16, 16), (*RED, 255))
    layer.paste((0, 0, 0, 0), (0, 0, 8, 16))
    layer.paste((0, 0, 0, 128), (8, 0, 16, 8))
    shown = load_image(saved(tmp_path / "alpha.png", layer))
    assert shown.getpixel((2, 2)) == (255, 255, 255)
    assert shown.getpixel((12, 2)) == (127, 127, 127)
    assert shown.getpixel((12, 12)) == RED


def test_palette_and_key_colour_transparency(tmp_path):
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([0, 0, 0, *RED])
    palette.paste(1, (8, 0, 16, 16))
    shown = load_image(saved(tmp_path / "p.png", palette, transparency=0))
    keyed = load_image(saved(tmp_path / "k.png", Image.new("RGB", (16, 16), (1, 2, 3)), transparency=(1, 2, 3)))
    both = load_image(saved(tmp_path / "la.png", Image.new("LA", (16, 16), (50, 0))))
    assert (shown.getpixel((0, 0)), shown.getpixel((9, 9))) == ((255, 255, 255), RED)
    assert keyed.getpixel((0, 0)) == both.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif", "a.png"])
def test_first_frame_of_an_animation(tmp_path, name):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if name == "a.webp" else {}
    path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **options)
    assert load_image(path).getpixel((0, 0)) == (255, 0, 0)
    assert examine_image(str(path), "decode")[:2] == ("warned", "image_animated")
    assert examine_image(str(path), "header")[:2] == ("warned", "image_animated")


def test_camera_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (40, 20), "white")
    image.paste("black", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    shown = load_image(saved(tmp_path / "a.png", image, exif=exif))
    assert shown.size == (20, 40)
    assert (shown.getpixel((10, 2)), shown.getpixel((10, 38))) == ((0, 0, 0), (255, 255, 255))


def test_broken_orientation_is_told_and_the_image_stays(tmp_path, monkeypatch):
    cut = b"Exif\0\0II*\0\x08\0\0\0\xff\xff"
    path = saved(tmp_path / "a.jpg", Image.new("RGB", (40, 20), RED), exif=cut)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert examine_image(str(path), "decode")[:2] == ("warned", "image_odd")
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        assert load_image(path).size == (40, 20)
    plain = saved(tmp_path / "b.jpg", Image.new("RGB", (40, 20), RED))

    def fail(_image):
        raise struct.error("argument out of range")

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", fail)
    reason, detail = examine_image(str(plain), "decode")[1:]
    assert (reason, "argument out of range" in detail) == ("image_exif_unreadable", True)
    assert load_image(plain).size == (40, 20)


def test_processes_give_the_same_findings_in_order(tmp_path):
    good = saved(tmp_path / "good.png", Image.new("RGB", (16, 16)))
    (tmp_path / "bad.png").write_bytes(b"no")
    paths = [str(good), str(tmp_path / "bad.png"), str(tmp_path / "none.png")] * 100
    assert verify_images(paths, "decode", 2) == verify_images(paths, "decode", 1)
    assert [status for status, _, _ in verify_images(paths[:3], "header")] == ["kept", "dropped", "dropped"]


class Killer(str):
    """A path that ends the process which receives it, as a crash in a decoder would."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_dying_process_is_told_in_one_line():
    with pytest.raises(InputError, match=r"a process died.*fewer threads"):
        verify_images([Killer("a.png")] * 300, "header", 2)


def test_unknown_mode():
    with pytest.raises(InputError, match="decode, header"):
        verify_images([], "fully")
