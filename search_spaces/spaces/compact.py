"""``compact``: small encoder-decoders for laptops and small medical images, with their losses and recipes.

Networks have about 10 thousand to 4 million parameters. ``small_unet``, ``small_unet_full`` and
``small_deeplabv3plus`` are points of it. What it holds does not change once tables are recorded on it: a wider space
gets a new name.
"""

from itertools import combinations
from typing import Literal

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.cell import Cell, Node
from search_spaces.context import Context
from search_spaces.contexts.aspp import Aspp
from search_spaces.contexts.none import NoContext
from search_spaces.decoder import Decoder
from search_spaces.decoders.deeplab import DeepLabDecoder
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoders.cells import Cells
from search_spaces.layers import Activation, Norm
from search_spaces.operation import Operation
from search_spaces.operations.conv import Conv
from search_spaces.operations.inverted import Inverted
from search_spaces.operations.separable import Separable
from search_spaces.preprocessing import Preprocessing
from search_spaces.skip import Skip
from search_spaces.skips.concat import Concat
from search_spaces.skips.none import NoSkip
from search_spaces.skips.sum import Sum
from search_spaces.space import Choice, Choose, Integer
from search_spaces.training_choices import choose_intensity, choose_recipe, choose_simple_loss

WIDTHS = {1: Choice((8, 12, 16)), 2: Choice((8, 16, 24, 32))}  # by stem: full size costs four times as much
NORMS: tuple[Norm, ...] = ("batch", "instance", "group")
ACTIVATIONS: tuple[Activation, ...] = ("relu", "leaky_relu", "silu")
DOWNSAMPLES: tuple[Literal["max_pool", "conv"], ...] = ("max_pool", "conv")
UPSAMPLES: tuple[Literal["transposed", "bilinear"], ...] = ("transposed", "bilinear")
SKIPS: dict[str, Skip] = {"none": NoSkip(), "sum": Sum(), "concat": Concat()}


def compact(choose: Choose) -> Candidate:
    """A small encoder-decoder, its loss, its recipe and the intensity rule of its images."""
    stem = choose("architecture.encoder.stem", Choice((2, 1)))
    encoder = Cells(
        cell=_cell(choose, "architecture.encoder.cell", most=3, kinds=("conv", "separable", "inverted")),
        width=choose("architecture.encoder.width", WIDTHS[stem]),
        widest=choose("architecture.encoder.widest", Choice((64, 128, 256))),
        stages=choose("architecture.encoder.stages", Integer(3, 5)),
        stem=stem,
        downsample=choose("architecture.encoder.downsample", Choice(DOWNSAMPLES)),
    )
    architecture = Architecture(
        encoder=encoder,
        context=_context(choose, "architecture.context"),
        skip=SKIPS[choose("architecture.skip.kind", Choice(tuple(SKIPS)))],
        decoder=_decoder(choose, "architecture.decoder"),
        norm=choose("architecture.norm", Choice(NORMS)),
        activation=choose("architecture.activation", Choice(ACTIVATIONS)),
    )
    return Candidate(
        architecture,
        choose_simple_loss(choose),
        choose_recipe(choose),
        Preprocessing(intensity=choose_intensity(choose)),
    )


def _cell(choose: Choose, path: str, *, most: int, kinds: tuple[str, ...]) -> Cell:
    length = choose(f"{path}.nodes.length", Integer(1, most))
    nodes = []
    for place in range(length):
        inputs = choose(f"{path}.nodes.{place}.inputs", Choice(_sources(place)))
        nodes.append(Node(_operation(choose, f"{path}.nodes.{place}.operation", kinds), inputs))
    return Cell(tuple(nodes), residual=choose(f"{path}.residual", Choice((False, True))))


def _sources(place: int) -> tuple[tuple[int, ...], ...]:
    """One earlier output, the nearest first, or two."""
    single = tuple((source,) for source in range(place, -1, -1))
    return single + tuple(combinations(range(place + 1), 2))


def _operation(choose: Choose, path: str, kinds: tuple[str, ...]) -> Operation:
    kind = choose(f"{path}.kind", Choice(kinds))
    if kind == "conv":
        return Conv(kernel=3, rate=choose(f"{path}.rate", Choice((1, 2))))
    kernel = choose(f"{path}.kernel", Choice((3, 5)))
    if kind == "separable":
        return Separable(kernel=kernel, rate=choose(f"{path}.rate", Choice((1, 2))))
    return Inverted(kernel=kernel, expansion=choose(f"{path}.expansion", Choice((2, 4))))


def _context(choose: Choose, path: str) -> Context:
    if choose(f"{path}.kind", Choice(("none", "aspp"))) == "none":
        return NoContext()
    return Aspp(
        rates=choose(f"{path}.rates", Choice(((1, 2, 4), (2, 4), (2, 4, 6), (1, 3, 6)))),
        width=choose(f"{path}.width", Choice((32, 64, 128))),
        image_pool=choose(f"{path}.image_pool", Choice((True, False))),
    )


def _decoder(choose: Choose, path: str) -> Decoder:
    kind = choose(f"{path}.kind", Choice(("unet", "deeplab")))
    cell = _cell(choose, f"{path}.cell", most=2, kinds=("conv", "separable"))
    if kind == "unet":
        return UNetDecoder(cell, upsample=choose(f"{path}.upsample", Choice(UPSAMPLES)))
    return DeepLabDecoder(
        cell,
        width=choose(f"{path}.width", Choice((16, 32, 64))),
        low_level=choose(f"{path}.low_level", Choice((0, 1))),
        low_width=choose(f"{path}.low_width", Choice((8, 16, 32))),
    )
