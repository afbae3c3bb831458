"""Augmentation: what stays, what turns which way, what comes from outside."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.recipe import Augmentation
from workers.augmentation import _matrix, augment
from workers.seeding import generator


class Fixed(np.random.Generator):
    """A generator whose uniform numbers are the upper ends of their ranges, times a sign."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__(np.random.Philox(0))
        self.sign = sign

    def uniform(self, low=0.0, high=1.0, size=None):  # type: ignore[no-untyped-def]  # as NumPy's
        value = high if self.sign > 0 else low
        return value if size is None else np.full(size, value)


def run(
    images: Tensor, labels: Tensor, augmentation: Augmentation, *generators: np.random.Generator
) -> tuple[Tensor, Tensor]:
    changed = [
        augment(image, label, augmentation, generator=g, ignore_index=255)
        for image, label, g in zip(images, labels, generators, strict=True)
    ]
    return torch.stack([image for image, _ in changed]), torch.stack([label for _, label in changed])


def numbered(*size: int) -> tuple[Tensor, Tensor]:
    """Labels that number voxels modulo 250, and an image of the same values."""
    labels = (torch.arange(int(np.prod(size))) % 250).reshape(1, *size)
    return labels[:, None].float(), labels


@pytest.mark.parametrize("size", [(6, 6), (5, 9), (4, 6, 3)])
def test_nothing_chosen_changes_nothing(size: tuple[int, ...]) -> None:
    images, labels = numbered(*size)
    found, same = run(images, labels, Augmentation(), generator(1))
    assert torch.equal(found, images) and torch.equal(same, labels)


@pytest.mark.parametrize("size", [(6, 6), (5, 9), (4, 6, 3)])
def test_a_rotation_by_almost_nothing_is_the_identity(size: tuple[int, ...]) -> None:
    images, labels = numbered(*size)
    found, same = run(images, labels, Augmentation(rotate_deg=1e-6, zoom=1e-9), generator(1))
    assert torch.equal(same, labels)
    torch.testing.assert_close(found, images, atol=1e-3, rtol=0)  # float32 positions of up to 250 grey levels


@pytest.mark.parametrize("size", [(6, 6), (6, 6, 3)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_quarter_turn_is_in_the_plane_of_the_first_two_axes(size: tuple[int, ...], sign: int) -> None:
    images, labels = numbered(*size)
    found, turned = run(images, labels, Augmentation(rotate_deg=90), Fixed(sign))
    expected = torch.rot90(labels, sign, dims=(1, 2))
    assert torch.equal(turned, expected)
    torch.testing.assert_close(found[:, 0], expected.float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(40, 64), (64, 40)])
def test_a_rotation_of_an_oblong_image_does_not_shear(size: tuple[int, int]) -> None:
    """A disc around the centre stays where it is, at any angle; a sheared one would become an ellipse."""
    rows, columns = np.indices(size)
    distance = np.hypot(rows - (size[0] - 1) / 2, columns - (size[1] - 1) / 2)
    disc = torch.from_numpy((distance < 15).astype(np.int64))[None]
    _, turned = run(disc[:, None].float(), disc, Augmentation(rotate_deg=37), Fixed())
    changed = ((turned == 1) != (disc == 1)).sum().item()
    assert (
        changed < 0.03 * disc.sum().item()
    )  # pixels on the rim, about 94 of 707, move by less than half a pixel


@pytest.mark.parametrize("sign", [1, -1])
def test_image_and_labels_move_together(sign: int) -> None:
    labels = torch.zeros(1, 41, 61, dtype=torch.int64)
    labels[:, 8:20, 30:50] = 1
    images, moved = run(labels[:, None].float(), labels, Augmentation(rotate_deg=25, zoom=0.2), Fixed(sign))
    inside = moved != 255
    assert torch.equal((images[:, 0] > 0.5)[inside], (moved == 1)[inside])
    assert not torch.equal(moved, labels)


def test_zoom_enlarges_about_the_centre() -> None:
    labels = torch.zeros(1, 20, 20, dtype=torch.int64)
    labels[:, 8:12, 8:12] = 1
    _, larger = run(labels[:, None].float(), labels, Augmentation(zoom=0.5), Fixed(1))
    expected = torch.zeros_like(labels)
    expected[:, 7:13, 7:13] = 1  # 4 pixels times 1.5
    assert torch.equal(larger, expected)


def test_what_comes_from_outside_is_ignored() -> None:
    images, labels = torch.ones(1, 2, 20, 20), torch.ones(1, 20, 20, dtype=torch.int64)
    found, shown = run(images, labels, Augmentation(zoom=0.5), Fixed(-1))  # half the size
    inside = torch.zeros(1, 20, 20, dtype=torch.bool)
    inside[:, 5:15, 5:15] = True
    assert (shown[inside] == 1).all() and (shown[~inside] == 255).all()
    assert (found[:, :, 6:14, 6:14] == 1).all() and (found[:, :, :4] == 0).all()


def test_ignored_pixels_stay_ignored() -> None:
    images, labels = numbered(8, 8)
    labels[:, 3:5, 3:5] = 255
    _, shown = run(images, labels, Augmentation(rotate_deg=90), Fixed())
    assert (shown[:, 3:5, 3:5] == 255).all() and (shown == 255).sum() == 4


def test_intensity_by_hand() -> None:
    images, labels = numbered(3, 3)
    found, same = run(images, labels, Augmentation(intensity=0.25), Fixed())
    torch.testing.assert_close(found, images * 1.25 + 0.25)
    assert torch.equal(same, labels)


def test_noise_has_the_drawn_deviation() -> None:
    images, labels = torch.zeros(1, 1, 100, 100), torch.zeros(1, 100, 100, dtype=torch.int64)
    found, _ = run(images, labels, Augmentation(noise=0.5), Fixed())
    assert abs(found.std().item() - 0.5) < 4 * 0.5 / (2 * 10_000) ** 0.5  # four deviations of a deviation


@pytest.mark.parametrize("size", [(7, 9), (1, 6), (256, 192), (7, 9, 5)])
@pytest.mark.parametrize("ignore_index", [255, 9])
def test_positions_are_those_of_a_product_of_matrices(size: tuple[int, ...], ignore_index: int) -> None:
    """The same as torch's ``affine_grid`` for a whole batch, whose product rounds once less on some processors, and labels
    that are sampled as numbers."""
    torch.manual_seed(0)
    images, labels = torch.randn(4, 2, *size), torch.randint(0, 4, (4, *size))
    labels[labels == 3] = 255
    moving = Augmentation(rotate_deg=30, zoom=0.3)
    matrices = np.stack([_matrix(moving, labels.shape[1:], generator("s", number)) for number in range(4)])
    padded = torch.from_numpy(np.concatenate([matrices, np.zeros_like(matrices[..., :1])], axis=-1))
    grid = functional.affine_grid(padded, [4, 1, *size], align_corners=False)
    expected = functional.grid_sample(images, grid, align_corners=False)
    nearest = functional.grid_sample((labels + 1)[:, None].float(), grid, mode="nearest", align_corners=False)
    for number in range(4):
        image, label = augment(
            images[number],
            labels[number].to(torch.uint8),
            moving,
            generator=generator("s", number),
            ignore_index=ignore_index,
        )
        # A position of up to 128 pixels is right to 1e-5 of one, and noise changes by up to 8 from pixel to pixel.
        torch.testing.assert_close(image, expected[number], atol=1e-4, rtol=0)
        wanted = nearest[number, 0].long() - 1
        differs = label != torch.where(wanted < 0, ignore_index, wanted)
        assert differs.float().mean() < 1e-3  # where a position lies between two pixels


def test_what_comes_in_is_not_changed() -> None:
    images, labels = numbered(6, 6)
    before = images.clone(), labels.clone()
    run(images, labels, Augmentation(intensity=0.3, noise=0.2), generator(1))
    assert torch.equal(images, before[0]) and torch.equal(labels, before[1])
