"""What Mask R-CNN learns from: boxes, classes and masks of objects, by hand and as torchvision has them."""

import copy
from dataclasses import replace

import torch
from objects import FINDER, SMALL, squares
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import masks_to_boxes

from search_spaces.decoders import mask_rcnn
from search_spaces.network import Network, build_model


def built(**changes: int) -> Network:
    architecture = replace(SMALL, decoder=replace(FINDER, **changes))
    return build_model(architecture, in_channels=1, num_classes=3, ndim=2, seed=0).train()


def test_targets_are_boxes_around_objects_by_hand() -> None:
    labels, objects = torch.zeros(2, 6, 7, dtype=torch.int64)
    labels[1:3, 2:6], objects[1:3, 2:6] = 2, 1
    labels[5, 0], objects[5, 0] = 1, 2
    target = mask_rcnn._target(labels, objects)
    assert target["boxes"].tolist() == [[2, 1, 6, 3], [0, 5, 1, 6]]
    assert target["labels"].tolist() == [2, 1]
    masks = mask_rcnn._corners(objects, torch.tensor([0, 1]))
    assert masks.shape == (2, 7, 8)
    corners = [0, 0.25, 0.5, 0.5, 0.5, 0.25, 0]  # of the first row
    assert masks[0, 1, 1:8].tolist() == corners
    assert torch.equal(mask_rcnn._corners(objects, torch.tensor([1]))[0], masks[1])
    empty = mask_rcnn._target(labels, torch.zeros_like(objects))
    assert empty["boxes"].shape == (0, 4) and empty["labels"].shape == (0,)


def test_masks_of_sampled_objects_alone_are_made() -> None:
    """256 objects, of which 4 are looked at: boxes and classes of all, and masks, as torchvision has them of all."""
    objects = torch.zeros(128, 128, dtype=torch.int64)
    for number in range(256):
        y, x = 8 * (number // 16), 8 * (number % 16)
        objects[y : y + 3 + number % 5, x : x + 4] = number + 1
    labels = torch.where(objects > 0, 1 + objects % 2, 0)
    target = mask_rcnn._target(labels, objects)
    wanted = masks_to_boxes(objects == torch.arange(1, 257).view(-1, 1, 1))
    wanted[:, 2:] += 1
    assert torch.equal(target["boxes"], wanted)
    heads = built(samples=16).decoder.roi_heads
    plain = copy.copy(heads)
    plain.__class__ = RoIHeads
    whole = {**target, "masks": mask_rcnn._corners(objects, torch.arange(256))}
    found = []
    for one, each in ((target, heads), (whole, plain)):
        torch.manual_seed(0)
        boxes, matched, known, _ = each.select_training_samples([torch.tensor([[0.0, 0, 90, 90]])], [one])
        pairs = matched[0][known[0] > 0]
        found.append((boxes[0], known[0], one["labels"][pairs], one["masks"][pairs]))
    assert len(found[0][3]) == 4 and len(target["masks"]) == 4
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))


def test_a_network_that_diverged_has_losses_that_are_not_finite() -> None:
    """It proposes nothing; training ends as diverged where losses are looked at, and must come so far."""
    images, labels, objects = squares(2, torch.Generator().manual_seed(0))
    network = built()
    with torch.no_grad():
        for weight in network.decoder.rpn.parameters():
            weight.fill_(torch.nan)
    assert not torch.isfinite(network.object_losses(images)(labels, objects)).all()
    assert not torch.isfinite(network.object_losses(images)(0 * labels, 0 * objects)).all()
