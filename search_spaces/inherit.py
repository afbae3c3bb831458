"""A new network begins with what another one has learned, as far as the two are alike.

Layers are matched by where they stand: named parts by their names, lists (stages, nodes of a cell, layers of a block) by
position, and where one is longer, from both ends, so that a stage more or less leaves the others where they are. What the two
have in common is copied. Where a layer is wider, its new channels are copies of old ones, and whoever reads them shares the old
weight among the copies, so that the network computes what it computed before; a larger kernel has zeros around the old one.
What has no counterpart keeps the weights that it began with.

The function is the same for widths and kernels of convolutions (depthwise and transposed ones too), through batch and instance
norms, activations, pooling, sums and concatenations. It is not where the wiring changes: other operations, rates or skips,
narrower layers (some channels are left out), another norm, group norms unless each channel is copied equally often, grouped
convolutions (their common block is copied), products of maps (attention), and chunks of maps unless widened by a whole factor.

Source: Chen et al. 2016, "Net2Net: accelerating learning via knowledge transfer", section 2.1 and algorithm 1,
    arXiv:1511.05641; inheritance between the architectures of a search: Elsken et al. 2019, "Efficient multi-objective neural
    architecture search via Lamarckian evolution", section 3, arXiv:1804.09081.
Deviations: which channels are copied depends on the two widths alone, so that all maps of a sum agree; copies stand beside
    their original, so that groups of a norm keep together; the parts that copies have of an old weight are drawn and sum to one
    instead of being equal, as equal ones would get equal gradients for ever (the paper adds noise, which changes the function);
    kernels grow and lists are matched, of which the paper says nothing.
"""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.codec import canonical
from search_spaces.layers import NORMS
from search_spaces.map_parts import Ends, Parts, is_owner, map_parts
from search_spaces.network import Network

UNEVEN = (
    0.5  # most by which the part of a copy differs from that of another, before they are made to sum to one
)
CONVS = (nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
KINDS = (CONVS, TRANSPOSED, NORMS)  # classes of one kind match whatever their class


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a network took over.

    Attributes:
        copied: Tensors that are those of the parent.
        widened: Tensors of which a part is the parent's: wider, narrower, or with a larger or smaller kernel.
        fresh: Tensors of which nothing is.
        share: Of the parameters, in [0, 1], those that came from the parent.
    """

    copied: int
    widened: int
    fresh: int
    share: float


def inherit(
    child: Network,
    architecture: Architecture,
    tensors: Mapping[str, Tensor],
    parent: Architecture,
    *,
    in_channels: int,
    num_classes: int,
    ndim: int,
    seed: int = 0,
) -> Inherited:
    """Fill a new network, in place, with what another one learned.

    Args:
        child: From ``build_model``, on any device.
        architecture: What it was built of.
        tensors: The parent's weights and statistics, its ``state_dict``.
        parent: What the parent was built of.
        in_channels: Channels that both see.
        num_classes: Channels of the logits of both.
        ndim: Spatial dimensions of both.
        seed: Which channels are copied or left out, and the parts of copies. The same seed gives the same network.
    """
    with torch.device("meta"):
        mine = Network(canonical(architecture), in_channels, num_classes, ndim)
        theirs = Network(canonical(parent), in_channels, num_classes, ndim)
    ours, others = (
        map_parts(network, (in_channels, *(2 * network.stride,) * ndim)) for network in (mine, theirs)
    )
    generator = torch.Generator().manual_seed(seed)
    modules = dict(child.named_modules())
    taken: dict[int, _Taken] = {}
    for own_name, other_name in _pairs(mine, theirs):
        module, other = modules[own_name], theirs.get_submodule(other_name)
        join = _join(module, other, ours.get(own_name), others.get(other_name), seed=seed)
        for key, tensor in _own(module).items():
            source = tensors.get(f"{other_name}.{key}" if other_name else key)
            shape = _own(other).get(key)
            if source is None or shape is None or source.shape != shape.shape:
                continue  # the other has none, or was made by another version of its code
            found = _take(module, other, key, tensor, source.to(tensor.device, tensor.dtype), join, generator)
            if found.count:
                taken[id(tensor)] = found
    return _report(child, taken)


def _report(child: nn.Module, taken: Mapping[int, "_Taken"]) -> Inherited:
    parameters = list(child.parameters())
    tensors = [*parameters, *child.buffers()]
    copied = sum(taken[id(tensor)].is_whole for tensor in tensors if id(tensor) in taken)
    known = sum(id(tensor) in taken for tensor in tensors)
    share = sum(taken[id(tensor)].count for tensor in parameters if id(tensor) in taken)
    return Inherited(
        copied, known - copied, len(tensors) - known, share / max(1, sum(t.numel() for t in parameters))
    )


@dataclass(frozen=True, slots=True)
class Origins:
    """Where channels come from: those of the child that have an origin, and of which channel of the parent each is a copy."""

    places: Tensor
    sources: Tensor

    def keeps(self, channels: int) -> bool:
        """Whether all of so many channels come from the one of the same number."""
        return len(self.places) == channels and torch.equal(self.places, self.sources)


def origins(child: Parts, parent: Parts, *, seed: int) -> Origins:
    """Origins of a map's channels, part by part; parts that the parent's map lacks have none.

    Args:
        child: Channels of each part of the child's map.
        parent: Of the parent's.
        seed: Decides which channels are copied, or left out.
    """
    places: list[int] = []
    sources: list[int] = []
    first = offset = 0
    for ours, theirs in zip(child, parent, strict=False):  # one may have more parts
        places += range(first, first + ours)
        sources += [offset + source for source in _drawn(ours, theirs, seed)]
        first, offset = first + ours, offset + theirs
    return Origins(torch.tensor(places, dtype=torch.long), torch.tensor(sources, dtype=torch.long))


def _drawn(child: int, parent: int, seed: int) -> list[int]:
    """For each channel of a part the parent's: each at least once and copies beside each other, or some of them in order."""
    rng = random.Random(f"{seed}/{parent}/{child}")
    if child < parent:
        return sorted(rng.sample(range(parent), child))
    whole, rest = divmod(child, parent)
    more = set(rng.sample(range(parent), rest))
    return [source for source in range(parent) for _ in range(whole + (source in more))]


@dataclass(frozen=True, slots=True)
class _Join:
    """Origins of the channels that a module reads and of those that it makes."""

    read: Origins
    made: Origins


def _join(child: nn.Module, parent: nn.Module, ours: Ends | None, theirs: Ends | None, *, seed: int) -> _Join:
    ends = [_ends(module, seen) for module, seen in ((child, ours), (parent, theirs))]
    read = origins(ends[0].inputs, ends[1].inputs, seed=seed)
    return _Join(read, origins(ends[0].outputs, ends[1].outputs, seed=seed))


def _ends(module: nn.Module, seen: Ends | None) -> Ends:
    """What was seen of a module, or where that is not about its channels, what it says of itself."""
    said = _said(module)
    if seen is None:
        return said
    fits = [sum(a) == sum(b) for a, b in ((seen.inputs, said.inputs), (seen.outputs, said.outputs))]
    return Ends(seen.inputs if fits[0] else said.inputs, seen.outputs if fits[1] else said.outputs)


def _said(module: nn.Module) -> Ends:
    def number(*names: str) -> Parts:
        return next(((int(getattr(module, name)),) for name in names if hasattr(module, name)), ())

    channels = number("num_features", "num_channels", "num_parameters")
    return Ends(
        channels or number("in_channels", "in_features"), channels or number("out_channels", "out_features")
    )


@dataclass(frozen=True, slots=True)
class _Taken:
    """Numbers of a tensor that came from the parent, and whether it is the parent's as it is."""

    count: int
    is_whole: bool = False


@torch.no_grad()
def _take(
    child: nn.Module,
    parent: nn.Module,
    key: str,
    tensor: Tensor,
    source: Tensor,
    join: _Join,
    generator: torch.Generator,
) -> _Taken:
    """Fill one tensor of a module from its counterpart."""
    if isinstance(child, (*CONVS, *TRANSPOSED, nn.Linear)) and key == "weight":
        transposed = isinstance(child, TRANSPOSED)
        if _is_depthwise(child) and _is_depthwise(parent):
            return _take_channels(tensor, source, join.made)
        if getattr(child, "groups", 1) == 1:
            return _take_weight(tensor, source, join, generator, transposed=transposed)
        return _take_block(tensor, source)
    kinds = (*CONVS, *TRANSPOSED, nn.Linear, nn.PReLU, *NORMS)
    if tensor.dim() == 1 and tensor.shape[0] > 1 and isinstance(child, kinds):
        return _take_channels(tensor, source, join.made)
    return _take_block(tensor, source)


def _take_weight(
    tensor: Tensor, source: Tensor, join: _Join, generator: torch.Generator, *, transposed: bool
) -> _Taken:
    """Weights (out, in, *kernel), of transposed convolutions (in, out, *kernel)."""
    whole = tensor.shape == source.shape
    if transposed:
        tensor, source = tensor.transpose(0, 1), source.transpose(0, 1)
    made, read = join.made, join.read
    if not len(made.places) or not len(read.places):
        return _Taken(0)
    part = source[made.sources][:, read.sources]
    shares = _shares(read.sources, len(made.sources), generator).to(source)
    part = part * shares.reshape(*shares.shape, *(1,) * (part.dim() - 2))
    fitted, taps = _fit_kernel(part, tensor.shape[2:])
    tensor[made.places[:, None], read.places[None]] = fitted
    whole = whole and made.keeps(tensor.shape[0]) and read.keeps(tensor.shape[1])
    return _Taken(len(made.places) * len(read.places) * taps, whole)


def _take_channels(tensor: Tensor, source: Tensor, made: Origins) -> _Taken:
    """A tensor (channels, ...) whose channels do not see each other: copies are equal."""
    fitted, taps = _fit_kernel(source[made.sources], tensor.shape[2:])
    whole = tensor.shape == source.shape and made.keeps(tensor.shape[0])
    tensor[made.places] = fitted
    return _Taken(len(made.places) * taps, whole)


def _take_block(tensor: Tensor, source: Tensor) -> _Taken:
    """The block that both have."""
    if tensor.dim() != source.dim():
        return _Taken(0)
    block = tuple(slice(min(lengths)) for lengths in zip(tensor.shape, source.shape, strict=True))
    tensor[block] = source[block]
    return _Taken(tensor[block].numel(), tensor.shape == source.shape)


def _shares(sources: Tensor, rows: int, generator: torch.Generator) -> Tensor:
    """(rows, len(sources)): of each copy its part of an old weight; the parts of all copies of one sum to one."""
    if len(set(sources.tolist())) == len(sources):
        return torch.ones(rows, len(sources))
    drawn = 1.0 + UNEVEN * (2.0 * torch.rand(rows, len(sources), generator=generator) - 1.0)
    totals = torch.zeros(rows, int(sources.max()) + 1).index_add_(1, sources, drawn)
    return drawn / totals[:, sources]


def _fit_kernel(weights: Tensor, kernel: tuple[int, ...]) -> tuple[Tensor, int]:
    """Weights (_, _, *old) for another kernel: zeros around a smaller one, the middle of a larger one; and the taps of both."""
    taps = 1
    for dim, length in enumerate(kernel, start=2):
        old = weights.shape[dim]
        taps *= min(old, length)
        if length < old:
            weights = weights.narrow(dim, (old - length) // 2, length)
        elif length > old:
            shape = list(weights.shape)
            shape[dim] = (length - old) // 2
            zeros = weights.new_zeros(shape)
            shape[dim] = length - old - shape[dim]
            weights = torch.cat([zeros, weights, weights.new_zeros(shape)], dim)
    return weights, taps


def _pairs(child: nn.Module, parent: nn.Module) -> list[tuple[str, str]]:
    """Names of modules with weights of their own that stand in the same place of two networks."""
    return [(own, other) for own, other, _ in _matched(child, parent, "", "")]


def _matched(child: nn.Module, parent: nn.Module, own: str, other: str) -> Iterator[tuple[str, str, float]]:
    """Pairs below two modules, each with how much the two are like each other."""
    if not _is_alike(child, parent):
        return
    if is_owner(child):
        yield own, other, _likeness(child, parent)
    ours, theirs = dict(child.named_children()), dict(parent.named_children())
    if not all(name.isdigit() for name in (*ours, *theirs)):
        names = [(name, name) for name in ours if name in theirs]
    else:
        names = _aligned(list(ours.items()), list(theirs.items()))
    for mine, its in names:
        yield from _matched(ours[mine], theirs[its], _below(own, mine), _below(other, its))


def _aligned(ours: list[tuple[str, nn.Module]], theirs: list[tuple[str, nn.Module]]) -> list[tuple[str, str]]:
    """Members of two lists: so many from the front, the rest of the shorter one from the back, as it gives most."""
    shorter = min(len(ours), len(theirs))
    front = list(zip(ours, theirs, strict=False))
    if len(ours) == len(theirs):
        return [(mine, its) for (mine, _), (its, _) in front]
    back = list(zip(ours[::-1], theirs[::-1], strict=False))
    gains = [
        [sum(n for *_, n in _matched(a, b, "", "")) for (_, a), (_, b) in side] for side in (front, back)
    ]
    best = max(range(shorter + 1), key=lambda k: (sum(gains[0][:k]) + sum(gains[1][: shorter - k]), k))
    chosen = (*front[:best], *back[: shorter - best])
    return [(mine, its) for (mine, _), (its, _) in chosen]


def _is_alike(child: nn.Module, parent: nn.Module) -> bool:
    """Whether two modules do the same, maybe with other widths; groups and the parity of kernels are the same too."""
    for kind in KINDS:
        if isinstance(child, kind) or isinstance(parent, kind):
            return isinstance(child, kind) and isinstance(parent, kind) and _is_alike_conv(child, parent)
    return type(child) is type(parent)


def _is_alike_conv(child: nn.Module, parent: nn.Module) -> bool:
    if isinstance(child, NORMS) or isinstance(parent, NORMS):
        return True
    both_depthwise = _is_depthwise(child) and _is_depthwise(parent)
    if not both_depthwise and child.groups != parent.groups:
        return False
    sizes = list(zip(_kernel(child), _kernel(parent), strict=True))
    if isinstance(child, TRANSPOSED):
        return all(ours == theirs for ours, theirs in sizes)
    return all(ours % 2 == theirs % 2 for ours, theirs in sizes)


def _likeness(child: nn.Module, parent: nn.Module) -> float:
    """How many numbers of the parent fit, less where either has more: what is of one size belongs together."""
    theirs, found = _own(parent), 0.0
    for key, tensor in _own(child).items():
        if key in theirs and theirs[key].dim() == tensor.dim():
            common = math.prod(map(min, tensor.shape, theirs[key].shape))
            found += common**2 / max(1, tensor.numel() + theirs[key].numel() - common)
    return found


def _own(module: nn.Module) -> dict[str, Tensor]:
    """Weights and statistics of a module without those of its children, by name."""
    return {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}


def _is_depthwise(module: nn.Module) -> bool:
    return 1 < getattr(module, "groups", 1) == getattr(module, "in_channels", 0) == module.out_channels


def _kernel(module: nn.Module) -> tuple[int, ...]:
    return tuple(module.kernel_size)  # type: ignore[arg-type]  # a convolution's is a tuple


def _below(head: str, name: str) -> str:
    return f"{head}.{name}" if head else name
