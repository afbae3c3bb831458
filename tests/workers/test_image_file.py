import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workers import image_file
from workers.errors import DataError
from workers.image_file import codec_of, decode_again, decode_image, decode_mask, is_image


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)


def test_channels_come_first(pixels: np.ndarray) -> None:
    assert np.array_equal(
        decode_image(encoded(Image.fromarray(pixels)), where="x"), pixels.transpose(2, 0, 1)
    )
    grey = pixels[..., 0]
    assert np.array_equal(decode_image(encoded(Image.fromarray(grey), "TIFF"), where="x"), grey[None])


def test_16_bit_grey_keeps_its_depth() -> None:
    deep = np.array([[0, 70, 65535], [1, 2, 300]], dtype=np.uint16)
    image = decode_image(encoded(Image.fromarray(deep)), where="x")
    assert image.dtype == np.uint16 and np.array_equal(image, deep[None])


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"quality": 30}])
def test_both_jpeg_decoders_give_the_same_pixels(mode: str, options: dict[str, object]) -> None:
    """The standard lets decoders differ by 1 in each inverse transform; both are libjpeg-turbo, so they agree."""
    smooth = np.random.default_rng(1).normal(size=(51, 67, 3)).cumsum(0).cumsum(1)
    picture = Image.fromarray(((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)).convert(mode)
    data = encoded(picture, "JPEG", **options)
    decoder = image_file._torchvision_decoder()
    assert decoder is not None, "torchvision's library of decoders is not where it is looked for"
    theirs = decoder(data, mode)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    assert theirs is not None and theirs.shape == expected.shape
    assert np.abs(theirs.astype(int) - expected.astype(int)).max() == 0


def test_a_damaged_jpeg_is_left_to_pillow() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG")
    decoder = image_file._torchvision_decoder()
    assert decoder is not None and decoder(data[: len(data) // 2], "RGB") is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pixels_are_fresh_and_without_torchvision_the_same(
    monkeypatch: pytest.MonkeyPatch, kind: str, mode: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise).convert(mode), kind)
    image = decode_image(data, where="x")
    again = decode_again(data, channels=len(image), where="x")
    monkeypatch.setattr(image_file, "_torchvision_decoder", lambda: None)
    for plain in (again, decode_image(data, where="x"), decode_again(data, channels=len(image), where="x")):
        assert np.array_equal(image, plain) and image.strides == plain.strides
        assert image.flags.writeable and plain.flags.writeable


def test_a_palette_mask_gives_indices() -> None:
    mask = Image.fromarray(np.array([[0, 1], [2, 255]], dtype=np.uint8)).convert("P")
    mask.putdata([0, 1, 2, 255])
    assert decode_mask(encoded(mask), where="x").tolist() == [[0, 1], [2, 255]]
    assert decode_mask(encoded(Image.new("1", (2, 1), 1)), where="x").tolist() == [[1, 1]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "1", "F"])
def test_images_that_would_have_to_be_guessed_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match=f"x: image of mode {mode}; allowed are grey"):
        decode_image(encoded(Image.new(mode, (4, 4)), "TIFF"), where="x")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_masks_with_channels_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match=f"x: mask of mode {mode}; allowed is one channel"):
        decode_mask(encoded(Image.new(mode, (4, 4))), where="x")


def test_a_jpeg_mask_is_refused() -> None:
    with pytest.raises(DataError, match="a mask in JPEG, which blurs labels"):
        decode_mask(encoded(Image.new("L", (8, 8)), "JPEG"), where="x")


def test_other_formats_are_refused(pixels: np.ndarray) -> None:
    for data in (
        encoded(Image.fromarray(pixels), "BMP"),
        encoded(Image.fromarray(pixels), "GIF"),
        b"",
        b"<svg/>",
    ):
        with pytest.raises(DataError, match="x: not a PNG, JPEG or TIFF picture"):
            decode_image(data, where="x")


def test_a_truncated_picture_is_refused(pixels: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for kind in ("PNG", "JPEG", "TIFF"):
        data = encoded(Image.fromarray(noise), kind)
        with pytest.raises(DataError, match=r"x: (cannot be decoded|not a PNG)"):
            decode_image(data[: len(data) // 2], where="x")


def test_a_picture_turned_by_exif_is_refused(pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.raises(DataError, match="turned by its EXIF tag"):
        decode_image(encoded(Image.fromarray(pixels), "JPEG", exif=exif), where="x")


def test_too_many_pixels_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray
) -> None:
    monkeypatch.setattr(image_file, "MAX_PIXELS", 23)
    with pytest.raises(DataError, match="more than 23 pixels, the limit for one picture"):
        decode_image(encoded(Image.fromarray(pixels)), where="x")


def test_a_bomb_is_refused_by_its_header() -> None:
    data = bytearray(encoded(Image.new("L", (1, 1))))
    data[16:24] = (200_000).to_bytes(4) * 2  # width and height in IHDR
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    with pytest.raises(DataError, match="more than 134,217,728 pixels"):
        decode_image(bytes(data), where="x")


def test_several_frames_are_refused() -> None:
    frame = Image.new("L", (4, 4))
    data = encoded(frame, "TIFF", save_all=True, append_images=[frame])
    with pytest.raises(DataError, match="holds 2 frames; allowed is one"):
        decode_image(data, where="x")


def test_names_and_codecs(pixels: np.ndarray) -> None:
    assert is_image(Path("a/B.JPG")) and not is_image(Path("a/._b.png")) and not is_image(Path("a.bmp"))
    picture = Image.fromarray(pixels)
    assert [codec_of(encoded(picture, kind)) for kind in ("PNG", "JPEG", "TIFF")] == [
        "png",
        "jpeg",
        "raw+zstd",
    ]
