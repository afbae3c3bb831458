"""``nas_unet``: cells of three nodes that halve and double the size.

Source: Weng et al. 2019, "NAS-Unet: neural architecture search for medical image segmentation", Table 1,
    doi:10.1109/ACCESS.2019.2908991.
Deviations: both plain convolutions of the table are one here; width and depth are choices, too. Of one width and depth there
    are (12 * 18 * 24)**2 * (10 * 16 * 22)**2 = 332,977,825,382,400 pairs of cells.
"""

from search_spaces.candidate import Candidate
from search_spaces.nas_unet import nas_unet_with
from search_spaces.scale_cells import DOUBLING, HALVING, INPUTS, KEEPING, Scaling, Step, Sum
from search_spaces.space import Choice, Choose
from search_spaces.start import start_from

NODES = 3
WIDTHS = (16, 32, 48)
DEPTHS = (3, 4, 5)
DOWN: tuple[tuple[Scaling, ...], ...] = (
    HALVING,
    HALVING,
    KEEPING,
)  # of the first input, the second, and nodes
UP: tuple[tuple[Scaling, ...], ...] = (KEEPING, DOUBLING, KEEPING)


def nas_unet(choose: Choose) -> Candidate:
    """Both cells, their width and how many there are; norm, head and recipe are fixed."""
    down = _cell(choose, "architecture.encoder.nodes", DOWN)
    up = _cell(choose, "architecture.decoder.nodes", UP)
    width = choose("architecture.encoder.width", Choice(WIDTHS))
    depth = choose("architecture.encoder.depth", Choice(DEPTHS))
    return start_from(nas_unet_with(down, up, width, depth))


def _cell(choose: Choose, path: str, offered: tuple[tuple[Scaling, ...], ...]) -> tuple[Sum, ...]:
    nodes = []
    for place in range(NODES):
        first, second = (
            _step(choose, f"{path}.{place}.{which}", INPUTS + place, offered) for which in ("first", "second")
        )
        nodes.append(Sum(first, second))
    return tuple(nodes)


def _step(choose: Choose, path: str, states: int, offered: tuple[tuple[Scaling, ...], ...]) -> Step:
    source = choose(f"{path}.source", Choice(tuple(range(states))))
    return Step(choose(f"{path}.operation", Choice(offered[min(source, INPUTS)])), source)
