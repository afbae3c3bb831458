"""Boxes, classes and masks of objects on a feature pyramid, painted into one map.

Layers and losses are torchvision's, which is imported when a network is built, as its import takes a second.

Source: He et al. 2017, "Mask R-CNN", arXiv:1703.06870, with Lin et al. 2017, "Feature pyramid networks for object detection",
    arXiv:1612.03144; thresholds and samples are those of torchvision's ``MaskRCNN``.
Deviations: images are neither resized nor normalised here. Boxes are cut at the border of the padded image. In evaluation all
    tensors have sizes of their own: see ``detection.survivors`` and, of at most ``proposals`` pairs of box and class, those
    above the least score go on. The result is a map of logits; objects are not told apart any more. Boxes over mostly ignored
    pixels do not teach the background; in a box of an object ignored pixels count as beside it.
"""

import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.decoder import Decoder
from search_spaces.detection import Canvas, clipped, covered, has_area, painted, survivors, taken
from search_spaces.encoder import Features, Levels
from search_spaces.errors import ShapeError, SpaceError
from search_spaces.layers import Layers, OwnStart
from search_spaces.register import entry
from search_spaces.skip import Skip

LEVELS = 4  # of the encoder, the deepest; one coarser is made for proposals
SHAPES = (0.5, 1.0, 2.0)  # height over width of anchors
BOX_CELLS, MASK_CELLS = 7, 14  # of a pooled box, for its class and for its mask
POSITIVE = 0.25  # of the sampled boxes at most, those that are objects
PROPOSAL_OVERLAP, OVERLAP = 0.7, 0.5  # above which the worse of two boxes is dropped
LEAST_SCORE = 0.05
UNKNOWN = 0.5  # share of ignored pixels beyond which a box is no background
NEVER = -1e30  # a logit


@entry("mask_rcnn")
@dataclass(frozen=True, slots=True)
class MaskRcnn(Decoder):
    """Finds objects on the deepest four maps of any encoder, for images of two dimensions; trained by the loss ``detection``.

    In evaluation the probability of a class is the greatest score times mask of its objects, so that metrics, predictions and
    pictures are those of any network.

    Attributes:
        width: Channels of the pyramid, of the proposals' convolution and of the mask's.
        hidden: Channels of the two layers before a box's class.
        proposals: Boxes that are looked at, and as many a level before overlapping ones are dropped; twice as many in training.
        detections: Objects of an image at most.
        samples: Boxes of an image that training looks at.
        anchor: Side of the square anchor over the stride of its level.
    """

    width: int = 256
    hidden: int = 1024
    proposals: int = 1000
    detections: int = 100
    samples: int = 512
    anchor: int = 8
    classifies = True
    finds_objects = True

    def __post_init__(self) -> None:
        if min(self.width, self.hidden, self.proposals, self.detections, self.samples, self.anchor) < 1:
            raise SpaceError(f"mask_rcnn: {self!r} given; whole numbers from 1 are allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels((num_classes,), (1,))

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return None if skip.kind == "none" else f"mask_rcnn has no skip, {skip.kind} given; choose none."

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        if layers.ndim != 2:
            raise ShapeError(
                f"decoder mask_rcnn: {layers.ndim} dimensions given; it finds objects in images of 2 only, so train on slices "
                "or choose another decoder."
            )
        if num_classes < 2:
            raise ShapeError(
                f"decoder mask_rcnn: {num_classes} class given; it needs a background and a class of objects."
            )
        return _MaskRcnnModule(self, levels, num_classes)


class _MaskRcnnModule(OwnStart):
    """Parts have torchvision's names, so that its weights fit: ``fpn``, ``rpn``, ``roi_heads``."""

    def __init__(self, choice: MaskRcnn, levels: Levels, num_classes: int) -> None:
        super().__init__()
        ops, models = (importlib.import_module(f"torchvision.{name}") for name in ("ops", "models.detection"))
        fpn = importlib.import_module("torchvision.ops.feature_pyramid_network")
        self.choice, self.num_classes = choice, num_classes
        self.strides = levels.strides[-LEVELS:]
        width, channels = choice.width, list(levels.channels[-LEVELS:])
        self.fpn = ops.FeaturePyramidNetwork(channels, width, fpn.LastLevelMaxPool())
        anchors = [(choice.anchor * stride,) for stride in (*self.strides, 2 * self.strides[-1])]
        generator = models.rpn.AnchorGenerator(tuple(anchors), (SHAPES,) * len(anchors))
        kept = {"training": 2 * choice.proposals, "testing": choice.proposals}
        self.rpn = _leaving_out(models.rpn.RegionProposalNetwork)(
            generator,
            models.rpn.RPNHead(width, len(SHAPES)),
            0.7,
            0.3,
            256,
            0.5,
            kept,
            kept,
            PROPOSAL_OVERLAP,
        )
        reach = 1.75 * choice.anchor  # 224 / 16 where anchors are 8 strides wide
        self.roi_heads = _masking_sampled(models.roi_heads.RoIHeads)(
            _Pool(self.strides, BOX_CELLS, reach),
            models.faster_rcnn.TwoMLPHead(width * BOX_CELLS**2, choice.hidden),
            models.faster_rcnn.FastRCNNPredictor(choice.hidden, num_classes),
            0.5, 0.5, choice.samples, POSITIVE, None, LEAST_SCORE, OVERLAP, choice.detections,
            _Pool(self.strides, MASK_CELLS, reach),
            models.mask_rcnn.MaskRCNNHeads(width, (width,) * 4, 1),
            models.mask_rcnn.MaskRCNNPredictor(width, width, num_classes),
        )  # fmt: skip
        self.image_list = models.image_list.ImageList

    def start(self) -> None:
        """As torchvision has it: first boxes are anchors, and the pyramid keeps the deviation of its maps."""
        for module in self.fpn.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
        for module in self.rpn.head.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
        for part in (self.roi_heads.mask_head, self.roi_heads.mask_predictor):
            for module in part.modules():
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> logits (N, num_classes, *S) of the padded image, painted."""
        maps, size = self.pyramid(features), self._size(features)
        canvas = Canvas.of(maps[:-1], self.strides)
        proposals, there = _used(*self._proposed(maps, size))
        boxes, scores, classes = _used(*self._classified(canvas, proposals, there, size))
        masks = self._masked(canvas, boxes, classes)
        return [painted(boxes, scores, classes, masks, size=size, num_classes=self.num_classes)]

    def pyramid(self, features: Features) -> list[Tensor]:
        """Maps (N, width, *S), the last one for proposals only."""
        named = {str(place): x for place, x in enumerate(features.maps[-LEVELS:])}
        return list(self.fpn(named).values())

    def losses(self, features: Features) -> Callable[[Tensor, Tensor], Tensor]:
        """What training minimises, once labels (N, *S), -1 where ignored, and numbers of objects (N, *S) are given.

        They are five, each the mean over the samples with labels: of proposals whether they are objects, and their boxes; of
        sampled boxes the class, the box and the mask.
        """
        maps, size = self.pyramid(features), self._size(features)

        def values(labels: Tensor, objects: Tensor) -> Tensor:
            known = (labels >= 0).flatten(1).any(1).nonzero().flatten()
            if not len(known):
                return torch.stack([x.float().sum() * 0 for x in maps])
            images = self.image_list(maps[0].new_empty(len(known), 1, *size), [size] * len(known))
            named = {str(place): x[known].float() for place, x in enumerate(maps)}
            targets = [_target(*pair) for pair in zip(labels[known], objects[known], strict=True)]
            boxes, of_proposals = self.rpn(images, named, targets)
            boxes = [x[~_unknown(one["ignored"], x)] for x, one in zip(boxes, targets, strict=True)]
            _, of_boxes = self.roi_heads(named, boxes, images.image_sizes, targets)
            return torch.stack([*of_proposals.values(), *of_boxes.values()])

        return values

    def counted(self, features: Features) -> list[Tensor]:
        """What losses are computed of where all samples are taken and as many as may be are objects: for counting only."""
        maps = [x.float() for x in self.pyramid(features)]
        with torch.autocast("cpu", enabled=False):
            objectness, shifts = self.rpn.head(maps)
            canvas = Canvas.of(maps[:-1], self.strides)
            boxes = maps[0].new_zeros(len(maps[0]), self.choice.samples, 4)
            found = self._box_scores(canvas, boxes)
            objects = boxes[:, : max(1, int(POSITIVE * self.choice.samples))]
            masks = self._mask_scores(canvas, objects)[:, 1]  # of its class
            return [*objectness, *shifts, *found, masks]

    def _size(self, features: Features) -> tuple[int, int]:
        height, width = features.maps[-1].shape[2:]
        return int(height) * self.strides[-1], int(width) * self.strides[-1]

    def _proposed(self, maps: list[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Boxes (N, R, 4) where objects may be, likely ones first, and whether there is one, (N, R)."""
        images, most = maps[0].shape[0], self.choice.proposals
        boxes, scores = [], []
        for cell, objectness, shifts in zip(
            self.rpn.anchor_generator.cell_anchors, *self.rpn.head(maps), strict=True
        ):
            anchors = _anchors(cell.to(shifts), shifts.shape[2:], size)
            values = objectness.permute(0, 2, 3, 1).reshape(images, -1)  # (N, anchors)
            moved = shifts.view(images, len(SHAPES), 4, *shifts.shape[2:]).permute(0, 3, 4, 1, 2)
            best, places = values.topk(min(most, values.shape[1]), dim=1)
            around = taken(anchors.unsqueeze(0).expand(images, -1, -1), places)
            decoded = self._decoded(self.rpn, taken(moved.reshape(images, -1, 4), places), around)
            decoded = clipped(decoded.squeeze(2), size)
            kept = survivors(decoded, has_area(decoded, 1e-3), PROPOSAL_OVERLAP)
            boxes.append(decoded)
            scores.append(best.masked_fill(~kept, NEVER))
        whole = torch.cat(scores, dim=1)
        best, places = whole.topk(min(most, whole.shape[1]), dim=1)
        return taken(torch.cat(boxes, dim=1), places), best > NEVER

    def _classified(
        self, canvas: Canvas, proposals: Tensor, there: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (N, D, 4), scores, 0 where there is none, and classes (N, D) of objects."""
        kinds = self.num_classes - 1
        images, looked = proposals.shape[:2]
        logits, shifts = self._box_scores(canvas, proposals)
        scores = logits.softmax(dim=1).view(images, looked, -1)[..., 1:] * there.unsqueeze(-1)
        decoded = self._decoded(self.roi_heads, shifts.view(images, looked, -1), proposals)  # (N, R, K, 4)
        best, places = scores.reshape(images, -1).topk(min(self.choice.proposals, looked * kinds), dim=1)
        boxes = clipped(taken(decoded[:, :, 1:].reshape(images, -1, 4), places), size)
        classes = places % kinds + 1
        alive = (best > LEAST_SCORE) & has_area(boxes, 1e-2)
        kept = survivors(boxes, alive, OVERLAP, classes=classes)
        best = best.masked_fill(~kept, 0.0)
        best, places = best.topk(min(self.choice.detections, best.shape[1]), dim=1)
        return taken(boxes, places), best, taken(classes, places)

    def _masked(self, canvas: Canvas, boxes: Tensor, classes: Tensor) -> Tensor:
        """Probability of each cell of boxes (N, D, 4) for their class, (N, D, cells, cells)."""
        logits = self._mask_scores(canvas, boxes)
        chosen = classes.reshape(-1, 1, 1, 1).expand(-1, 1, *logits.shape[2:])
        return logits.gather(1, chosen).sigmoid().view(*boxes.shape[:2], *logits.shape[2:])

    def _box_scores(self, canvas: Canvas, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Of boxes (N, M, 4): logits (N * M, K) and shifts (N * M, 4 * K)."""
        heads = self.roi_heads
        pooled = heads.box_roi_pool.of_batch(canvas, boxes)
        return cast(tuple[Tensor, Tensor], heads.box_predictor(heads.box_head(pooled)))

    def _mask_scores(self, canvas: Canvas, boxes: Tensor) -> Tensor:
        heads = self.roi_heads
        pooled = heads.mask_roi_pool.of_batch(canvas, boxes)
        return cast(Tensor, heads.mask_predictor(heads.mask_head(pooled)))  # (N * D, K, cells, cells)

    def _decoded(self, coder: Any, shifts: Tensor, boxes: Tensor) -> Tensor:
        """Boxes (N, M, 4) moved by shifts (N, M, 4 * K), (N, M, K, 4)."""
        moved = coder.box_coder.decode_single(shifts.flatten(0, 1), boxes.flatten(0, 1))
        return cast(Tensor, moved.view(*boxes.shape[:2], -1, 4))


@functools.cache  # one class, by which networks are matched
def _leaving_out(kind: Any) -> Any:
    """torchvision's network for proposals, to which anchors over mostly ignored pixels are no background."""

    class Proposals(kind):  # type: ignore[misc]  # known only when a network is built
        def assign_targets_to_anchors(
            self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
        ) -> tuple[list[Tensor], list[Tensor]]:
            labels, boxes = super().assign_targets_to_anchors(anchors, targets)
            places = zip(labels, anchors, targets, strict=True)
            return [
                x.masked_fill((x == 0) & _unknown(one["ignored"], at), -1) for x, at, one in places
            ], boxes

    return Proposals


@functools.cache
def _masking_sampled(kind: Any) -> Any:
    """torchvision's network for boxes, with masks of sampled objects only: those of all would be an image each."""

    class Heads(kind):  # type: ignore[misc]  # known only when a network is built
        def select_training_samples(self, proposals: list[Tensor], targets: list[dict[str, Tensor]]) -> Any:
            boxes, matched, labels, shifts = super().select_training_samples(proposals, targets)
            for place, (one, known) in enumerate(zip(targets, labels, strict=True)):
                wanted, own = matched[place][known > 0].unique(return_inverse=True)
                one["masks"], one["labels"] = _corners(one["objects"], wanted), one["labels"][wanted]
                matched[place] = torch.zeros_like(known).masked_scatter(known > 0, own)
            return boxes, matched, labels, shifts

        def check_targets(self, targets: list[dict[str, Tensor]] | None) -> None:
            """They have no masks yet."""

    return Heads


def _unknown(ignored: Tensor, boxes: Tensor) -> Tensor:
    """Whether boxes (M, 4) lie over too many ignored pixels to say that they hold nothing, (M,); one at least does not."""
    shares = covered(ignored, boxes)
    least = torch.cat([shares, shares.new_ones(1)]).min()  # also of none, as a network that diverged proposes
    return shares > least.clamp(min=UNKNOWN)


class _Pool(nn.Module):
    """Maps of boxes: means over cells, from the level that fits the box."""

    def __init__(self, strides: tuple[int, ...], cells: int, reach: float) -> None:
        super().__init__()
        self.strides, self.cells, self.reach = strides, cells, reach

    def forward(self, maps: dict[str, Tensor], boxes: list[Tensor], shapes: list[tuple[int, int]]) -> Tensor:
        """As torchvision calls it: boxes (M, 4) of each image -> (sum of M, C, cells, cells)."""
        canvas = Canvas.of(list(maps.values())[: len(self.strides)], self.strides)
        images = [x.new_full((len(x),), place) for place, x in enumerate(boxes)]
        return self._pooled(canvas, torch.cat(images), torch.cat(boxes))

    def of_batch(self, canvas: Canvas, boxes: Tensor) -> Tensor:
        """Boxes (N, M, 4) -> (N * M, C, cells, cells)."""
        images = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
        return self._pooled(
            canvas, images.unsqueeze(1).expand(-1, boxes.shape[1]).flatten(), boxes.flatten(0, 1)
        )

    def _pooled(self, canvas: Canvas, images: Tensor, boxes: Tensor) -> Tensor:
        rois = torch.cat([images.unsqueeze(1), canvas.places(boxes, reach=self.reach)], dim=1)
        pooled = torch.ops.torchvision.roi_align(canvas.map, rois, 1.0, self.cells, self.cells, 2, False)
        return cast(Tensor, pooled)


def _used(boxes: Tensor, scores: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """The same (N, M, ...) without what no image has; those of score 0 are the last. Where sizes must be fixed, all of it."""
    if boxes.is_meta or torch.compiler.is_exporting():
        return (boxes, scores, *others)
    most = max(1, int((scores > 0).sum(dim=1).max()))
    return tuple(value[:, :most] for value in (boxes, scores, *others))


def _anchors(cell: Tensor, cells: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Boxes (A, 4) around the origin at each of the cells (rows, columns) of a map of an image, (cells * A, 4)."""
    rows, columns = (
        torch.arange(count, device=cell.device, dtype=cell.dtype) * (length // count)
        for count, length in zip(cells, size, strict=True)
    )
    y, x = (place.flatten() for place in torch.meshgrid(rows, columns, indexing="ij"))
    return (torch.stack([x, y, x, y], dim=1).unsqueeze(1) + cell).flatten(0, 1)


def _target(labels: Tensor, objects: Tensor) -> dict[str, Tensor]:
    """Boxes and classes of the objects of one image, as torchvision has them, from labels and numbers (H, W)."""
    rows, columns = objects.nonzero(as_tuple=True)
    own = objects[rows, columns].long() - 1
    nothing = own.new_zeros(int(objects.max()))
    least, most = (
        torch.stack([nothing.scatter_reduce(0, own, x, kind, include_self=False) for x in (columns, rows)])
        for kind in ("amin", "amax")
    )
    classes = nothing.scatter_reduce(0, own, labels[rows, columns], "amax")
    boxes = torch.cat([least, most + 1]).T.float()
    return {"boxes": boxes, "labels": classes, "objects": objects, "ignored": labels < 0}


def _corners(objects: Tensor, wanted: Tensor) -> Tensor:
    """Masks (M, H + 1, W + 1) of the wanted objects (M,), counted from 0, at the corners of pixels.

    For torchvision's means over cells take a value for that of a place half a pixel before its own, so that half of the first
    row and column of an object would be lost.
    """
    masks = objects == wanted.view(-1, 1, 1) + 1
    around = F.pad(masks.float().unsqueeze(1), [1, 1, 1, 1])
    return F.avg_pool2d(around, 2, stride=1).squeeze(1)
