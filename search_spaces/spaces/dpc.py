"""``dpc``: dense prediction cells of five branches on aligned Xception.

Source: Chen et al. 2018, "Searching for efficient multi-scale architectures for dense image prediction", section 3.2,
    arXiv:1809.04184: 81 operations, and i inputs to choose from for branch i; 5! * 81**5 = 418,414,128,120 cells, which is the
    number of its traces.
"""

from dataclasses import replace
from itertools import product

from search_spaces.candidate import Candidate
from search_spaces.contexts.dpc import Dpc, DpcBranch, DpcOperation
from search_spaces.dilated import xception_with
from search_spaces.space import Choice, Choose
from search_spaces.start import start_from

BRANCHES = 5
RATES = (1, 3, 6, 9, 12, 15, 18, 21)
GRIDS = (1, 2, 4, 8)
OPERATIONS: tuple[DpcOperation, ...] = (
    ("conv", 1, 1),
    *(("atrous", high, wide) for high, wide in product(RATES, RATES)),
    *(("pool", high, wide) for high, wide in product(GRIDS, GRIDS)),
)


def dpc(choose: Choose) -> Candidate:
    """The context of DeepLabV3+ on Xception; all else is fixed."""
    path = "architecture.context.branches"
    branches = tuple(
        DpcBranch(
            operation=choose(f"{path}.{place}.operation", Choice(OPERATIONS)),
            source=choose(f"{path}.{place}.source", Choice(tuple(range(place + 1)))),
        )
        for place in range(BRANCHES)
    )
    context = replace(Dpc(256, dropout=0.1), branches=branches)
    return start_from(xception_with(context))
