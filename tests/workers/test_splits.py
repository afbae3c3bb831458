from collections import Counter

import pytest

from workers.splits import RATIOS, draw_splits


def test_ratios_are_met_and_nobody_moves_when_groups_are_added() -> None:
    few = [f"patient{number}" for number in range(2000)]
    drawn, by_hash = draw_splits(few)
    assert by_hash
    shares = Counter(drawn.values())
    for name, ratio in RATIOS.items():
        assert shares[name] / 2000 == pytest.approx(
            ratio, abs=0.03
        )  # three deviations of a binomial of 2,000
    more, _ = draw_splits([*few, *(f"new{number}" for number in range(500))])
    assert all(more[group] == drawn[group] for group in few)


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7])
def test_few_groups_still_fill_each_split(count: int) -> None:
    drawn, _ = draw_splits(f"p{number}" for number in range(count))
    assert set(drawn.values()) == set(RATIOS)
    assert Counter(drawn.values())["train"] >= 1


def test_order_does_not_matter() -> None:
    groups = [f"p{number}" for number in range(30)]
    assert draw_splits(groups) == draw_splits(reversed(groups))
