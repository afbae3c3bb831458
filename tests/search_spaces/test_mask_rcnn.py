"""Mask R-CNN: torchvision's own modules say what it computes; painting and targets by hand."""

from collections.abc import Callable
from dataclasses import replace
from math import inf, isfinite

import pytest
import torch
from objects import FINDER, SMALL, squares
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, batched_nms

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.candidate import Candidate, digest
from search_spaces.decoders import mask_rcnn
from search_spaces.decoders.mask_rcnn import MaskRcnn
from search_spaces.detection import OPEN, Canvas, covered, painted, survivors
from search_spaces.encoder import Features
from search_spaces.encoders.resnet import Resnet
from search_spaces.errors import ShapeError, SpaceError
from search_spaces.inherit import inherit
from search_spaces.loss import Loss, Weighted
from search_spaces.loss_battery import fault_of
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.detection import Detection
from search_spaces.memory import kept_bytes
from search_spaces.network import Network, build_model
from search_spaces.preset import load_preset, preset_candidates
from search_spaces.profile import profile
from search_spaces.register import kinds
from search_spaces.space import decode, encode, load_space
from search_spaces.zero_cost import ZeroCost, score_of

Maps = list[Tensor]


def small(num_classes: int = 3, **changes: int) -> Network:
    architecture = replace(SMALL, decoder=replace(FINDER, **changes))
    return build_model(architecture, in_channels=1, num_classes=num_classes, ndim=2, seed=0)


def pictures(count: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    return squares(count, torch.Generator().manual_seed(0))


def several(network: Network) -> tuple[Features, tuple[int, int]]:
    """Features of two images on which the network, moved a little from its start, proposes and finds many boxes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.decoder.parameters():
            weight.add_(0.01 * torch.randn(weight.shape, generator=generator))
        x = torch.randn(2, 1, 64, 96, generator=generator)
        return network._features(x), (64, 96)


def test_parameters_are_torchvisions_with_and_without_its_norms() -> None:
    """They are frozen there where weights of ImageNet are taken, else trained."""
    preset = load_preset("mask_rcnn")
    with torch.device("meta"):
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None)  # its default freezes norms
        frozen = MaskRCNN(backbone, 91)
    assert sum(weight.numel() for weight in theirs.parameters()) == preset.parameters
    assert sum(weight.numel() for weight in frozen.parameters()) == 44_401_393 == preset.parameters - 53_120


def test_weights_of_torchvision_fit_part_by_part() -> None:
    with torch.device("meta"):
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        ours = Network(load_preset("mask_rcnn").candidate().architecture, 3, 91, 2)
    for part, other in (("fpn", theirs.backbone.fpn), ("rpn", theirs.rpn), ("roi_heads", theirs.roi_heads)):
        mine = getattr(ours.decoder, part).state_dict()
        assert {name: value.shape for name, value in mine.items()} == {
            name: value.shape for name, value in other.state_dict().items()
        }
    shapes = [value.shape for value in ours.encoder.state_dict().values()]
    assert shapes == [value.shape for value in theirs.backbone.body.state_dict().values()]


def test_proposals_and_objects_are_those_of_torchvision() -> None:
    """Its modules decide with lists of any length. The last level of the canvas has one pixel less than a stride."""
    network = small(num_classes=4, proposals=200, detections=40).eval()
    features, size = several(network)
    module = network.decoder
    with torch.no_grad():
        maps: Maps = module.pyramid(features)
        images = ImageList(torch.empty(2, 1, *size), [size] * 2)
        named = {str(place): x for place, x in enumerate(maps)}
        proposals, _ = module.rpn(images, named)
        wanted, _ = module.roi_heads(named, proposals, images.image_sizes)
        boxes, there = module._proposed(maps, size)
        canvas = Canvas.of(maps[:-1], module.strides)
        found, scores, classes = module._classified(canvas, boxes, there, size)
        masks = module._masked(canvas, found, classes)
    for image in range(2):
        torch.testing.assert_close(boxes[image][there[image]], proposals[image])
        count, theirs = int((scores[image] > 0).sum()), wanted[image]
        assert 20 < count == len(theirs["boxes"])
        torch.testing.assert_close(found[image, :count], theirs["boxes"])
        torch.testing.assert_close(scores[image, :count], theirs["scores"])
        assert torch.equal(classes[image, :count], theirs["labels"])
        torch.testing.assert_close(masks[image, :count], theirs["masks"][:, 0])


def test_boxes_are_pooled_as_torchvision_pools_them() -> None:
    """Also at the border, where means look beyond the map, and of all sizes; rows of the canvas are large numbers."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 3, 448 // s, 512 // s, generator=generator) for s in (4, 8, 16, 32)]
    corners = torch.rand(60, 2, 2, generator=generator).pow(2) * torch.tensor([512.0, 448.0])
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    boxes = torch.cat([boxes, torch.tensor([[0.0, 0.0, 512.0, 448.0], [500.0, 440.0, 512.0, 448.0]])])
    named = {str(place): x for place, x in enumerate(maps)}
    theirs = MultiScaleRoIAlign(list(named), 7, 2)
    wanted = theirs(named, [boxes[:30], boxes[30:]], [(448, 512)] * 2)
    ours = mask_rcnn._Pool((4, 8, 16, 32), 7, 14.0)
    torch.testing.assert_close(ours(named, [boxes[:30], boxes[30:]], []), wanted, rtol=1e-4, atol=1e-4)


def test_survivors_are_those_of_one_after_another() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = 60 * torch.rand(2, 150, 2, generator=generator)
    boxes = torch.cat([corners, corners + 8 + 16 * torch.rand(2, 150, 2, generator=generator)], dim=2)
    classes = torch.randint(0, 2, (2, 150), generator=generator)
    alive = torch.rand(2, 150, generator=generator) > 0.1
    kept = survivors(boxes, alive, 0.3, classes=classes)
    for image in range(2):
        places = alive[image].nonzero().flatten()
        ranks = -places.float()
        wanted = places[batched_nms(boxes[image][places], ranks, classes[image][places], 0.3)]
        assert 20 < len(wanted) < 110
        assert kept[image].nonzero().flatten().tolist() == sorted(wanted.tolist())


def test_painting_by_hand() -> None:
    """A sure square of 4 x 4 pixels with a hole, under it a less sure one of another class, and one that is not there."""
    boxes = torch.tensor([[[2.0, 1.0, 6.0, 5.0], [4.0, 1.0, 8.0, 5.0], [0.0, 0.0, 8.0, 8.0]]])
    masks = torch.ones(1, 3, 4, 4)
    masks[0, 0, 1, 2] = 0.0
    logits = painted(
        boxes, torch.tensor([[0.9, 0.6, 0.0]]), torch.tensor([[1, 2, 2]]), masks, size=(8, 8), num_classes=3
    )
    first, second = torch.zeros(2, 8, 8)
    first[1:5, 2:6], second[1:5, 4:8] = 0.9, 0.6
    first[2, 4] = 0.0
    background = 1 - torch.maximum(first, second)
    torch.testing.assert_close(logits[0].exp() - OPEN, torch.stack([background, first, second]))


def test_a_mask_fades_out_over_half_a_cell_beyond_its_box() -> None:
    boxes, one = torch.tensor([[[2.0, 2.0, 10.0, 10.0]]]), torch.ones(1, 1)
    logits = painted(boxes, one, one.long(), torch.ones(1, 1, 2, 2), size=(12, 12), num_classes=2)
    row = logits[0, 1, 6].exp() - OPEN  # pixel c at (c + 0.5 - 2) / 4 - 0.5 of cells 0 and 1
    wanted = [0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125]
    torch.testing.assert_close(row, torch.tensor(wanted))


def test_losses_reach_every_weight_and_repeat_with_the_seed() -> None:
    images, labels, objects = pictures()
    values = []
    for _ in range(2):
        network = small().train()
        torch.manual_seed(3)
        losses = network.object_losses(images)(labels, objects)
        losses.sum().backward()
        assert losses.shape == (5,) and bool((losses > 0).all())
        assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
        values.append(losses.detach())
    assert torch.equal(*values)


def test_samples_without_labels_teach_nothing() -> None:
    images, labels, objects = pictures()
    losses = []
    for count in (1, 2):
        network = small().train()
        fixed_norms(network)
        hidden = labels.clone()
        hidden[1] = -1
        torch.manual_seed(3)
        losses.append(network.object_losses(images[:count])(hidden[:count], objects[:count]))
    torch.testing.assert_close(losses[0], losses[1])
    nothing = network.object_losses(images)(torch.full_like(labels, -1), objects)
    nothing.sum().backward()
    assert not nothing.any()
    assert all(weight.grad is None or not weight.grad.any() for weight in network.parameters())


def fixed_norms(network: Network) -> None:
    """Statistics of a batch would see the other sample."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def test_boxes_over_ignored_pixels_are_no_background() -> None:
    """The left half is ignored; by hand, and as proposals and boxes see it."""
    ignored = torch.zeros(64, 64, dtype=torch.bool)
    ignored[:, :32] = True
    boxes = torch.tensor(
        [[0.0, 0.0, 20.0, 20.0], [24, 8, 44, 30], [20, 8, 44, 30], [40, 40, 60, 60], [-9, 10, 40, 20]]
    )
    shares = covered(ignored, boxes)
    torch.testing.assert_close(shares, torch.tensor([1, 8 / 20, 12 / 24, 0, 32 / 40]))
    network = small().train()
    target = {"boxes": torch.tensor([[42.0, 40.0, 60.0, 60.0]]), "ignored": ignored}
    [labels], _ = network.decoder.rpn.assign_targets_to_anchors([boxes], [target])
    assert labels.tolist() == [-1, 0, 0, 1, -1]
    assert not mask_rcnn._unknown(torch.ones_like(ignored), boxes).any()  # something must be left to sample


def test_losses_are_finite_where_little_is_known() -> None:
    """Half of an image, and one pixel."""
    images, labels, objects = pictures(1)
    network = small().train()
    hidden = labels.clone()
    hidden[:, :, :34] = -1
    losses = network.object_losses(images)(hidden, torch.where(hidden < 0, 0, objects - 1).clamp(min=0))
    assert torch.isfinite(losses).all() and losses[0] > 0 and losses[2] > 0
    sliver = torch.full_like(labels, -1)
    sliver[:, 0, 0] = 0
    assert torch.isfinite(network.object_losses(images)(sliver, 0 * objects)).all()


def test_an_image_without_objects_teaches_that_there_is_nothing() -> None:
    images, labels, objects = pictures()
    losses = small().train().object_losses(images)(0 * labels, 0 * objects)
    assert torch.isfinite(losses).all() and losses[[1, 3, 4]].tolist() == [0, 0, 0]
    assert losses[0] > 0 and losses[2] > 0


@pytest.mark.parametrize("size", [(64, 64), (50, 90)])
def test_multiplications_are_those_that_a_counter_sees(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where as many boxes are looked at and painted as may be."""
    monkeypatch.setattr(mask_rcnn, "_used", lambda *values: values)
    network = small().eval()
    padded = tuple(-(-length // 32) * 32 for length in size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, *padded))
    numbers = profile(SMALL, 1, 3, size)
    assert 2 * numbers.macs == counter.get_total_flops()
    assert numbers.parameters == sum(weight.numel() for weight in network.parameters())
    assert numbers.receptive_field == (float("inf"),) * 2


def test_memory_of_a_step_is_that_of_a_real_one() -> None:
    """Where all samples are taken and a quarter of them are objects; a loss keeps less than two maps, and some indices."""
    decoder = replace(FINDER, samples=16)
    architecture = replace(SMALL, decoder=decoder)
    network = build_model(architecture, in_channels=1, num_classes=3, ndim=2, seed=0).train()
    images, labels, objects = squares(2, torch.Generator().manual_seed(4))
    kept: dict[int, Tensor] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        tensor = tensor.detach()  # else graph, hook and what it keeps would hold one another for ever
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network.object_losses(images)(labels, objects).sum()
    sizes = [t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights]
    estimate = kept_bytes(architecture, in_channels=1, num_classes=3, input_size=(64, 64), batch=2)
    assert estimate == pytest.approx(sum(sizes), rel=0.05)


def test_the_loss_goes_with_the_network_and_alone() -> None:
    alone = Loss((Weighted(Detection()),))
    usual = load_preset("small_unet").candidate()
    with pytest.raises(
        SpaceError, match="the decoder mask_rcnn is trained by losses of its own; choose the term"
    ):
        Candidate(SMALL, usual.loss)
    with pytest.raises(SpaceError, match="a network that finds objects, which the decoder unet does not"):
        Candidate(usual.architecture, alone)
    with pytest.raises(SpaceError, match="detection is computed inside the network"):
        Loss((Weighted(CrossEntropy()), Weighted(Detection())))
    assert fault_of(alone, num_classes=3) is None
    assert digest(Candidate(SMALL, alone)) != digest(load_preset("mask_rcnn").candidate())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaskRcnn(proposals=0), "whole numbers from 1 are allowed"),
        (
            lambda: replace(SMALL, auxiliary=(Auxiliary("encoder", 0),)),
            "auxiliary heads and a pyramid of images",
        ),
        (
            lambda: replace(SMALL, skip=load_preset("unet").candidate().architecture.skip),
            "mask_rcnn has no skip",
        ),
    ],
)
def test_what_does_not_go_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make()


@pytest.mark.parametrize(
    ("ndim", "classes", "message"), [(3, 3, "images of 2 only"), (2, 1, "needs a background")]
)
def test_other_images_and_classes_are_named(ndim: int, classes: int, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        build_model(SMALL, in_channels=1, num_classes=classes, ndim=ndim)


def test_its_space_holds_the_preset_and_small_ones() -> None:
    space = load_space("mask_rcnn")
    assert [name for name, _ in preset_candidates(space)] == ["mask_rcnn"]
    candidate = load_preset("mask_rcnn").candidate()
    assert digest(decode(space, encode(space, candidate))) == digest(candidate)


def test_a_space_of_it_alone_has_no_other_losses() -> None:
    """As where a user's function returns one candidate."""
    candidate = load_preset("mask_rcnn").candidate()
    assert [name for name, _ in preset_candidates(lambda choose: candidate)] == ["mask_rcnn"]


@pytest.mark.parametrize("kind", kinds(ZeroCost))
def test_scores_at_the_start_can_be_asked_for(kind: str) -> None:
    """None knows of boxes; synflow sees no way through them, in any network of the kind."""
    score = score_of(kind, SMALL, in_channels=1, num_classes=3, input_size=(64, 64))
    assert isfinite(score) or (kind, score) == ("synflow", -inf)


def test_it_inherits_from_a_smaller_one() -> None:
    """All weights come from the parent, and the function with them, where the pyramid is as wide."""
    larger = replace(SMALL, decoder=replace(FINDER, hidden=64), encoder=Resnet(18, width=12))
    parent = small().eval()
    child = build_model(larger, in_channels=1, num_classes=3, ndim=2, seed=5)
    sizes = {"in_channels": 1, "num_classes": 3, "ndim": 2}
    assert inherit(child, larger, parent.state_dict(), SMALL, **sizes).share == 1
    x = pictures()[0]
    with torch.no_grad():
        torch.testing.assert_close(child.eval()(x), parent(x), rtol=1e-3, atol=1e-3)


def test_other_encoders_carry_it() -> None:
    """A plain one of three levels, of stride 1, 2 and 4, with a context."""
    base = load_preset("small_deeplabv3plus").candidate().architecture
    other = Architecture(base.encoder, base.context, SMALL.skip, FINDER)
    network = build_model(other, in_channels=2, num_classes=3, ndim=2, seed=0)
    assert network(torch.randn(1, 2, 40, 56)).shape == (1, 3, 40, 56)
    dilated = replace(SMALL, encoder=Resnet(18, width=8, output_stride=8))
    assert build_model(dilated, in_channels=1, num_classes=2, ndim=2)(torch.zeros(1, 1, 33, 64)).shape[
        2:
    ] == (33, 64)


@pytest.mark.slow
def test_a_small_one_learns_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    network = small().train()
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    torch.manual_seed(0)
    for _ in range(120):
        images, labels, objects = squares(8, generator)
        optimiser.zero_grad()
        network.object_losses(images)(labels, objects).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimiser.step()
    images, labels, _ = squares(16, torch.Generator().manual_seed(9))
    with torch.no_grad():
        found = network.eval()(images).argmax(1)
    for kind in (1, 2):
        mine, truth = found == kind, labels == kind
        assert 2 * (mine & truth).sum() / (mine.sum() + truth.sum()) > 0.7
