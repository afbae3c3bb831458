"""Examples of every entry of every family, small ones, for suites that run over all of them."""

from dataclasses import fields, replace

import pytest
import torch

from search_spaces.architecture import Architecture
from search_spaces.cell import chain
from search_spaces.codec import entry_from_json, to_json
from search_spaces.context import Context
from search_spaces.decoder import Decoder
from search_spaces.decoders.deepest import Deepest
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoder import Encoder, Levels
from search_spaces.encoders.cells import Cells
from search_spaces.errors import MissingPackageError, ShapeError
from search_spaces.front import Front
from search_spaces.head import Head
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.operations.conv import Conv
from search_spaces.preset import load_preset
from search_spaces.register import Entry, kinds, lookup
from search_spaces.skip import Skip
from search_spaces.skips.none import NoSkip

PARTS = [(part, family, kind)
         for part, family in (("front", Front), ("encoder", Encoder), ("context", Context), ("skip", Skip),
                              ("decoder", Decoder), ("head", Head), ("operation", Operation))
         for kind in kinds(family)]  # fmt: skip

REQUIRED: dict[str, object] = {
    "cell": to_json(chain(Conv(3))),
    "width": 8,
    "widest": 16,
    "stages": 3,
    "rates": [1, 2],
    "decoder": to_json(UNetDecoder(chain(Conv(3)))),
    "deep": {"kind": "resnet", "width": 4},
    "plan": [
        {"width": 4, "operations": [{"kind": "conv"}]},
        {"width": 8, "operations": [{"kind": "inverted"}]},
    ],
    "blocks": [
        {"first": {"operation": {"kind": "conv"}}, "second": {"operation": {"kind": "pool"}, "source": 1}}
    ],
    "nodes": [
        {"first": {"operation": "identity", "source": 0}, "second": {"operation": "cweight", "source": 1}}
    ],
}  # values for fields without a default; an entry with another such field adds it here


def example(family: type[Entry], kind: str) -> Entry:
    names = {field.name for field in fields(lookup(family, kind))}  # type: ignore[arg-type]  # entries are dataclasses
    given = {name: value for name, value in REQUIRED.items() if name in names}
    return entry_from_json(family, {"kind": kind} | given)


def skip_impossible(entry: Entry, ndim: int) -> None:
    """Leave out an encoder or decoder whose package is missing, or that has no such number of dimensions."""
    try:
        with torch.device("meta"):
            if isinstance(entry, Encoder):
                entry.build(Layers(ndim), 1)
            if isinstance(entry, Decoder) and entry.finds_objects:
                entry.build(Layers(ndim), Levels((4, 8), (1, 2)), NoSkip(), 2)
    except (MissingPackageError, ShapeError) as error:
        pytest.skip(str(error))


def architecture_with(part: str, entry: Entry) -> Architecture:
    """A small U-Net with another part, without a skip where the part has none to choose.

    An operation stands beside a shortcut at each level of the encoder.
    """
    small = load_preset("small_unet").candidate().architecture
    if isinstance(entry, Decoder) and entry.refusal(small.levels(), small.skip):
        small = replace(small, decoder=Deepest(), skip=NoSkip())
    if isinstance(entry, Operation):
        return replace(small, encoder=Cells(chain(entry, residual=True), width=16, widest=64, stages=3))
    return replace(small, **{part: entry})  # type: ignore[arg-type]  # a part of its kind
