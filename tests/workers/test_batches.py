"""Batches as a pure function of seed, epoch and step; windows, padding, flips and drawn classes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces.recipe import Augmentation
from workers.batches import TrainingSet, batches, cut, epoch_order, sample_spacing
from workers.contract import DataView
from workers.distance_maps import signed_distances
from workers.errors import DataError
from workers.preprocessing import Prepared

MakePrepared = Callable[..., Prepared]

ALL = Augmentation(flip=True, rotate_deg=20, zoom=0.2, intensity=0.2, noise=0.1)


def training(
    *cases: Prepared, view: str = "images", size: tuple[int, ...] = (4, 4), **fields: Any
) -> TrainingSet:
    batch, samples = fields.pop("batch", 2), fields.pop("samples", None)
    standard: dict[str, Any] = {
        "augmentation": Augmentation(),
        "symmetries": (),
        "ignore_index": 255,
        "seed": 5,
    }
    data = DataView("", "d" * 64, view, size, batch, samples)  # type: ignore[arg-type]  # a literal from the parameters
    return TrainingSet(cases=cases, view=data, **{**standard, **fields})


def test_an_epoch_is_a_permutation_of_all_units() -> None:
    orders = [epoch_order(1, epoch, "d", units=9, samples=9) for epoch in (1, 2)]
    assert [sorted(order) for order in orders] == [list(range(9))] * 2
    assert not np.array_equal(*orders)
    assert np.array_equal(orders[1], epoch_order(1, 2, "d", units=9, samples=9))
    assert not np.array_equal(orders[0], epoch_order(2, 1, "d", units=9, samples=9))
    assert not np.array_equal(orders[0], epoch_order(1, 1, "e", units=9, samples=9))


@pytest.mark.parametrize(("units", "samples"), [(7, 3), (7, 7), (3, 10), (1, 4)])
def test_epochs_of_any_length_go_on_where_the_last_one_ended(units: int, samples: int) -> None:
    row = np.concatenate(
        [epoch_order(1, epoch, "d", units=units, samples=samples) for epoch in range(1, units + 1)]
    )
    for start in range(0, len(row), units):
        assert sorted(row[start : start + units]) == list(range(units))


def test_every_unit_is_seen_equally_often_where_batches_do_not_divide_an_epoch(
    make_prepared: MakePrepared,
) -> None:
    cases = [make_prepared(4, 4, id=str(number)) for number in range(5)]
    for number, case in enumerate(cases):
        case.pixels[:] = number
    ours = training(*cases)  # 5 pictures, 2 a step: each epoch has room for 4
    assert ours.steps == 2
    seen = Counter(int(value) for images, _, _ in batches(ours, range(1, 6)) for value in images[:, 0, 0, 0])
    assert seen == dict.fromkeys(range(5), 4)


@pytest.mark.parametrize("view", ["slices", "patches"])
def test_batches_are_the_same_with_any_number_of_loader_processes(
    make_prepared: MakePrepared, view: str
) -> None:
    cases = [make_prepared(9, 7, 4, id=str(number)) for number in range(3)]
    ours = training(
        *cases,
        view=view,
        size=(6, 8) if view == "slices" else (6, 8, 3),
        samples=6,
        augmentation=ALL,
        symmetries=(0,),
        needs=frozenset(("distance",)),
        num_classes=3,
    )
    before = torch.get_rng_state()
    here, there = (list(batches(ours, range(2, 4), loader_workers=count)) for count in (0, 2))
    assert len(here) == len(there) == 6
    for (images, labels, maps), (others, theirs, same) in zip(here, there, strict=True):
        assert torch.equal(images, others) and torch.equal(labels, theirs)
        assert maps.keys() == same.keys() == {"distance"} and torch.equal(maps["distance"], same["distance"])
    assert torch.equal(torch.get_rng_state(), before)  # or dropout would depend on the loader


@pytest.mark.parametrize("view", ["slices", "patches"])
def test_the_shares_of_the_ranks_are_the_batch_that_one_process_makes(
    make_prepared: MakePrepared, view: str
) -> None:
    whole = training(
        *[make_prepared(9, 7, 4, id=str(number)) for number in range(3)],
        view=view,
        size=(6, 8) if view == "slices" else (6, 8, 3),
        batch=4,
        samples=9,
        augmentation=ALL,
        symmetries=(0,),
        needs=frozenset(("distance", "neighbours")),
        num_classes=3,
    )
    for epoch, step in ((1, 0), (1, 1), (2, 0), (2, 1)):
        images, labels, maps = whole.with_maps(epoch, step)
        for ranks in (1, 2, 4):
            parts = [replace(whole, rank=rank, ranks=ranks).with_maps(epoch, step) for rank in range(ranks)]
            assert {len(part[0]) for part in parts} == {4 // ranks}
            assert torch.equal(torch.cat([part[0] for part in parts]), images)
            assert torch.equal(torch.cat([part[1] for part in parts]), labels)
            for name in ("distance", "neighbours"):
                assert torch.equal(torch.cat([part[2][name] for part in parts]), maps[name])


def test_a_share_that_cannot_be_is_refused(make_prepared: MakePrepared) -> None:
    whole = training(*[make_prepared(4, 4)] * 4, batch=4)
    with pytest.raises(
        DataError, match=r"data.batch: 4 samples a step cannot be shared evenly by 3 ranks; take a multiple"
    ):
        replace(whole, ranks=3)
    with pytest.raises(DataError, match=r"shared evenly by 8 ranks"):
        replace(whole, ranks=8)
    with pytest.raises(DataError, match=r"rank: 2 of 2 ranks; allowed are 0 to 1"):
        replace(whole, rank=2, ranks=2)


def test_an_epoch_goes_on_at_any_step(make_prepared: MakePrepared) -> None:
    ours = training(*[make_prepared(9, 7, id=str(number)) for number in range(7)], augmentation=ALL)
    whole = [images for images, _, _ in batches(ours, range(2, 4))]
    assert len(whole) == 6
    for step in range(4):
        rest = [images for images, _, _ in batches(ours, range(2, 4), first_step=step)]
        assert len(rest) == 6 - step and all(map(torch.equal, rest, whole[step:]))
    assert not list(batches(ours, range(2, 2), first_step=1))
    with pytest.raises(DataError, match=r"first_step: 4; allowed are 0 to 3, the steps of an epoch"):
        batches(ours, range(2, 4), first_step=4)


def test_maps_are_those_of_the_augmented_labels(make_prepared: MakePrepared) -> None:
    ours = training(
        make_prepared(9, 7, id="a"),
        make_prepared(5, 11, id="b"),
        size=(8, 6),
        augmentation=ALL,
        needs=frozenset(("distance",)),
        num_classes=3,
        spacing=(1.0, 2.0),
    )
    ((_, labels, maps),) = batches(ours, range(1, 2))
    assert (labels == 255).any()  # what the rotation brought in
    for sample, found in zip(labels.numpy(), maps["distance"].numpy(), strict=True):
        expected = signed_distances(sample, num_classes=3, ignore_index=255, spacing=(1.0, 2.0))
        np.testing.assert_array_equal(found, expected)
    assert not training(*ours.cases).with_maps(1, 0)[2]


def test_one_spacing_for_all_samples(make_prepared: MakePrepared) -> None:
    cases = [
        replace(make_prepared(4, 4, 3, id=str(n)), spacing=spacing)
        for n, spacing in enumerate([(1.0, 2.0, 9.0), (3.0, 2.0, 7.0), (1.5, 2.0, 5.0)])
    ]
    slices, patches = DataView("", "", "slices", (4, 4), 1), DataView("", "", "patches", (4, 4, 3), 1)
    assert sample_spacing(cases, slices) == (1.5, 2.0)
    assert sample_spacing(cases, patches) == (1.5, 2.0, 7.0)
    assert sample_spacing([*cases, make_prepared(4, 4, 3)], patches) == (1.0, 1.0, 1.0)


def test_a_batch_depends_on_no_earlier_one(make_prepared: MakePrepared) -> None:
    cases = [make_prepared(9, 7, id=str(number)) for number in range(6)]
    one, other = training(*cases, augmentation=ALL), training(*cases, augmentation=ALL)
    list(batches(one, range(1, 3)))
    for found, expected in zip(one.batch(3, 1), other.batch(3, 1), strict=True):
        assert torch.equal(found, expected)
    assert not torch.equal(one.batch(3, 1)[0], replace(one, seed=6).batch(3, 1)[0])


def test_slices_images_and_patches_have_their_shapes(make_prepared: MakePrepared) -> None:
    volumes = [make_prepared(9, 7, 4, id="a"), make_prepared(5, 11, 2, id="b")]
    slices = training(*volumes, view="slices", size=(8, 8))
    assert (slices.units, slices.num_samples, slices.steps) == (6, 6, 3)
    images, labels = slices.batch(1, 0)
    assert images.shape == (2, 1, 8, 8) and labels.shape == (2, 8, 8)
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    patches = training(*volumes, view="patches", size=(8, 8, 3), samples=10)
    assert (patches.units, patches.steps) == (2, 5)
    images, labels = patches.batch(1, 4)
    assert images.shape == (2, 1, 8, 8, 3) and labels.shape == (2, 8, 8, 3)


def test_slices_are_taken_along_the_last_axis(make_prepared: MakePrepared) -> None:
    volume = make_prepared(3, 3, 4)
    ours = training(volume, view="slices", size=(3, 3), batch=4)
    images, labels = ours.batch(1, 0)
    found = {
        float(image[0, 0, 0]): (image[0].numpy(), label.numpy())
        for image, label in zip(images, labels, strict=True)
    }
    assert sorted(found) == [1, 2, 3, 4]
    for depth in range(4):
        np.testing.assert_array_equal(found[depth + 1][0], volume.image[0, ..., depth])
        assert volume.labels is not None
        np.testing.assert_array_equal(found[depth + 1][1], volume.labels[..., depth])


def test_a_slice_comes_with_those_beside_it(make_prepared: MakePrepared) -> None:
    volume = make_prepared(3, 3, 4, channels=2)
    ours = training(volume, view="slices", size=(3, 3), batch=4)
    ours = replace(ours, view=replace(ours.view, adjacent_slices=2))
    images, labels = ours.batch(1, 0)
    assert images.shape == (4, 10, 3, 3) and volume.labels is not None
    depths = [
        int(np.flatnonzero((volume.image == image[4:6, ..., None].numpy()).all((0, 1, 2)))[0])
        for image in images
    ]
    assert sorted(depths) == [0, 1, 2, 3]
    for depth, image, label in zip(depths, images, labels, strict=True):
        for place, near in enumerate(range(depth - 2, depth + 3)):
            seen = volume.image[..., min(max(near, 0), 3)]  # the last slice again beyond the volume's ends
            np.testing.assert_array_equal(image[2 * place : 2 * place + 2], seen)
        np.testing.assert_array_equal(label, volume.labels[..., depth])


def test_slices_beside_each_other_change_alike(make_prepared: MakePrepared) -> None:
    volume = make_prepared(3, 3, 1, channels=2)
    ours = training(volume, view="slices", size=(3, 3), batch=1, augmentation=replace(ALL, noise=0.0))
    [image] = replace(ours, view=replace(ours.view, adjacent_slices=1)).batch(1, 0)[0]
    assert torch.equal(image[:2], image[2:4]) and torch.equal(image[:2], image[4:])
    assert torch.equal(image[:2], ours.batch(1, 0)[0][0])
    assert not np.array_equal(image[:2], volume.image[..., 0])


def test_a_smaller_case_is_centred_and_its_padding_is_ignored(make_prepared: MakePrepared) -> None:
    case = make_prepared(3, 4)
    images, labels = training(case, size=(6, 6), batch=1, ignore_index=200).batch(1, 0)
    np.testing.assert_array_equal(images[0, 0, 2:5, 1:5], case.image[0])
    np.testing.assert_array_equal(labels[0, 2:5, 1:5], case.labels)  # type: ignore[arg-type]  # labels are there
    assert int((labels == 200).sum()) == 36 - 12 and float(images.sum()) == float(case.image.sum())


@pytest.mark.parametrize("shape", [(9, 8), (9, 3), (3, 9), (7, 8, 9), (2, 8, 4)])
def test_windows_lie_inside_a_larger_case_and_carry_their_labels(
    make_prepared: MakePrepared, shape: tuple[int, ...]
) -> None:
    size = (4,) * len(shape)
    case = make_prepared(*shape, classes=5)
    ours = training(case, view="images" if len(shape) == 2 else "patches", size=size, batch=20, samples=20)
    images, labels = ours.batch(1, 0)
    inside = images[:, 0] != 0
    expected = 4 ** len(shape)
    for length in shape:
        expected = expected * min(length, 4) // 4
    assert inside.flatten(1).sum(1).tolist() == [expected] * 20
    assert torch.equal(labels[inside], images[:, 0][inside].long() % 5)
    assert (labels[~inside] == 255).all()
    assert len({float(image[0][image[0] > 0][0]) for image in images}) > 3  # the windows move


def test_a_third_of_the_windows_holds_a_drawn_class(make_prepared: MakePrepared) -> None:
    """One voxel of class 1 in a long row: a random window of 4 in 4000 hits it once in a thousand draws."""
    case = make_prepared(4, 4000)
    assert case.labels is not None
    case.labels[:] = 0
    case.labels[2, 1234] = 1
    case.labels[:, :1000] = 77  # ignored, so never drawn
    ours = training(case, batch=600, samples=600, ignore_index=77)
    _, labels = ours.batch(1, 0)
    hit = (labels == 1).flatten(1).any(1).float().mean().item()
    assert abs(hit - 1 / 3) < 3 * (2 / 9 / 600) ** 0.5  # three deviations of a share over 600 draws


def test_a_case_without_any_class_but_the_first_is_cut_at_random(make_prepared: MakePrepared) -> None:
    case = make_prepared(9, 9, classes=1)
    images, labels = training(case, batch=9, samples=9).batch(1, 0)
    assert images.shape == (9, 1, 4, 4) and (labels == 0).all()


@pytest.mark.parametrize("symmetries", [(), (0,), (1,), (0, 1)])
def test_flips_only_along_declared_symmetries(
    make_prepared: MakePrepared, symmetries: tuple[int, ...]
) -> None:
    case = make_prepared(4, 4, classes=7)
    ours = training(case, batch=40, samples=40, augmentation=Augmentation(flip=True), symmetries=symmetries)
    images, labels = ours.batch(1, 0)
    assert torch.equal(labels, images[:, 0].long() % 7)
    original = torch.from_numpy(case.image)
    allowed = [original]
    for axis in symmetries:
        allowed += [image.flip(axis + 1) for image in allowed]
    used = [next(i for i, image in enumerate(allowed) if torch.equal(image, found)) for found in images]
    assert set(used) == set(range(len(allowed)))


def test_a_symmetry_follows_its_axis_through_the_orientation(make_prepared: MakePrepared) -> None:
    """Stored axis 0 lies along network axis 1 here; stored axis 2 along network axis 0."""
    orientation = np.array([[1.0, 1], [2, -1], [0, 1]])
    case = make_prepared(4, 4, 2, classes=7, orientation=orientation)
    flip = Augmentation(flip=True)
    original = torch.from_numpy(case.image)
    for stored, network in ((0, 1), (2, 0)):
        ours = training(
            case,
            view="patches",
            size=(4, 4, 2),
            batch=12,
            samples=12,
            augmentation=flip,
            symmetries=(stored,),
        )
        images, _ = ours.batch(1, 0)
        kept = [torch.equal(image, original) for image in images]
        turned = [torch.equal(image, original.flip(network + 1)) for image in images]
        assert any(kept) and any(turned) and all(a or b for a, b in zip(kept, turned, strict=True))
    slices = training(
        case, view="slices", size=(4, 4), batch=12, samples=12, augmentation=flip, symmetries=(1,)
    )
    plain = replace(slices, augmentation=Augmentation())
    assert torch.equal(
        slices.batch(1, 0)[0], plain.batch(1, 0)[0]
    )  # that axis is the one that slices are cut along


def test_a_batch_larger_than_an_epoch_is_refused(make_prepared: MakePrepared) -> None:
    with pytest.raises(DataError, match=r"data.batch: 4 samples a step, but an epoch has 3; lower it"):
        training(*[make_prepared(4, 4)] * 3, batch=4)


def test_cut_by_hand() -> None:
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    np.testing.assert_array_equal(cut(image, (2, 2), (1, 2), fill=0), [[[6, 7], [10, 11]]])
    np.testing.assert_array_equal(cut(image, (2, 3), (-1, 2), fill=9), [[[9, 9, 9], [2, 3, 9]]])
