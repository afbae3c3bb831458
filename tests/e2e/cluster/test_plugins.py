"""A user's own loss and space travel with the job, and their content is part of every digest."""

from collections.abc import Callable

from ray_cluster import ADDRESS, BUCKET, RayCluster

from orchestrator.engine.events import Event

PLACES = ("--dataset", f"s3://{BUCKET}/datasets/small", "--storage", f"s3://{BUCKET}/runs")
LOSS = """
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.loss import LossTerm, Role, Scores
from search_spaces.register import entry


@entry("squared_error")
@dataclass(frozen=True, slots=True)
class SquaredError(LossTerm):
    role: ClassVar[Role] = "distribution"
    bounds: ClassVar[tuple[float, float]] = (0.0, 2.0)

    def value(self, scores: Scores) -> Tensor:
        return scores.mean((scores.probs - scores.truth.float()).square().sum(dim=1)) * {scale}
"""
SPACE = """
from dataclasses import replace

from my_loss import SquaredError
from search_spaces.domain import Choice
from search_spaces.loss import Loss, Weighted
from search_spaces.preset import load_preset


def space(choose):
    base = load_preset("small_unet").candidate()
    width = choose("architecture.encoder.width", Choice((8, 12)))
    encoder = replace(base.architecture.encoder, width=width)
    return replace(base, architecture=replace(base.architecture, encoder=encoder), loss=Loss((Weighted(SquaredError()),)))
"""
JOB = """\
name: plugged
dataset: data/small
data: {size: [64, 64], batch: 8, epoch_samples: 16}
space: my_space:space
plugins: [my_loss]
search: {scheduler: {kind: none, max_epochs: 1}, presets: false}
budget: {trials: 2}
retrain: {top: 0}
"""


def test_plugins_travel_and_a_changed_one_is_another_search(
    cluster: RayCluster, events_of: Callable[[str], list[Event]]
) -> None:
    folder = cluster.folder / "mine"
    folder.mkdir()
    (folder / "plugged.yaml").write_text(JOB)
    submit = ("submit", str(folder / "plugged.yaml"), "--address", ADDRESS, *PLACES)
    missing = cluster.call(*submit)
    assert missing.code == 2 and "no module 'my_loss' beside the job file" in missing.err

    (folder / "my_loss.py").write_text("1 / 0\n")
    broken = cluster.call(*submit)
    assert broken.code == 2
    assert "my_loss fails to import: ZeroDivisionError: division by zero (my_loss.py, line 1)." in broken.err

    (folder / "my_loss.py").write_text(LOSS.format(scale="1.0"))
    (folder / "my_space.py").write_text(SPACE)
    done = cluster.call(*submit, "--follow")
    assert done.code == 0, done
    written = events_of("plugged")
    asked = [event.body for event in written if event.kind == "asked"]
    assert [body["candidate"]["loss"]["terms"][0]["term"]["kind"] for body in asked] == ["squared_error"] * 2
    assert all(event.body["verdict"] == "completed" for event in written if event.kind == "trial_ended")
    assert set(written[0].body["protocol"]["plugins"]) == {"my_loss", "my_space"}

    (folder / "my_loss.py").write_text(LOSS.format(scale="0.5"))
    changed = cluster.call("resume", "plugged", "--address", ADDRESS, "--follow", cwd=folder)
    assert changed.code == 1
    assert "search 'plugged' began with other code in my_loss" in changed.out
