"""SqueezeNAS, the small network found for few multiplications.

Source: Shaw et al. 2019, "SqueezeNAS: fast neural architecture search for faster semantic segmentation", arXiv:1908.01748; the
    operations from its code (``squeezenas_mac_small``).
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.lraspp import LrAsppDecoder
from search_spaces.encoders.staged import Stage, Staged
from search_spaces.operation import Operation
from search_spaces.operations.identity import Identity
from search_spaces.operations.inverted import Inverted
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.sum import Sum
from search_spaces.start import start_from


@entry("squeezenas")
@dataclass(frozen=True, slots=True)
class SqueezeNas(Preset):
    """Twenty found inverted residual blocks and a lite reduced atrous pyramid."""

    title: ClassVar[str] = "SqueezeNAS, MAC small"
    paper: ClassVar[str] = "Shaw et al. 2019, SqueezeNAS, arXiv:1908.01748"
    note: ClassVar[str] = (
        "No parameter count is published. The size is halved by means before a stage instead of strides "
        "inside it, so that an image of 1024 x 2048 pixels takes 2.66 billion multiplications instead of "
        "3.01."
    )
    channels: ClassVar[tuple[int, int]] = (3, 19)
    parameters: ClassVar[int] = 277_598  # counted here

    def candidate(self) -> Candidate:
        e1, e1g2, e1d2, e1g2d2 = (
            Inverted(3, 1, rate, groups) for rate, groups in ((1, 1), (1, 2), (2, 1), (2, 2))
        )
        e6k5, e6d2, e3d2 = Inverted(5, 6), Inverted(3, 6, rate=2), Inverted(3, 3, rate=2)
        stages: tuple[tuple[int, bool, tuple[Operation, ...]], ...] = (
            (16, True, (e1g2, e1, e1, e1g2)),
            (24, True, (e6k5, e1, e1, e1g2d2)),
            (40, True, (e6k5, e6d2, Identity(), e1g2)),
            (48, False, (e6k5, e3d2, e1d2, e1d2)),
            (96, False, (e6d2, e1g2d2, e1g2d2, e1g2d2)),
        )
        plan = tuple(Stage(width, operations, halves) for width, halves, operations in stages)
        architecture = Architecture(
            encoder=Staged(plan, stem=16, last=256),
            context=NoContext(),
            skip=Sum(),
            decoder=LrAsppDecoder(128),
        )
        return start_from(architecture)
