"""The card that travels with an exported network: what it is, how it was found, what it scored, how to use it."""

import json

from search_spaces.candidate import digest, to_json
from search_spaces.profile import profile
from workers.contract import JSON
from workers.network_file import Description
from workers.regions import in_words

SLICE_ORDER = "the channels of the first come first, its own in the middle, and beyond a volume's ends the last slice again"


def model_card(description: Description, facts: JSON, evidence: JSON, *, from_raw: bool) -> str:
    """Markdown of the card.

    Args:
        description: The exported network.
        facts: Search, trial, epoch, seed, worker-seconds, and what else the caller wants to be told.
        evidence: What ``workers.export.prove`` measured.
        from_raw: Whether it began with the raw files; else with the stored cases.
    """
    numbers = profile(
        description.candidate.architecture,
        in_channels=description.num_inputs,
        num_classes=description.num_outputs,
        input_size=description.view.size,
    )
    source = "raw files" if from_raw else "the stored cases"
    example = "image.png" if description.view.view == "images" else "image.nii.gz"
    rows = [f"| {key.replace('_', ' ')} | {value} |" for key, value in facts.items()]
    scores = evidence["measured"]["torch"]
    per_class = [
        f"| {name} | {_score(scores.get(f'dice/{name}'))} | {_score(scores.get(f'iou/{name}'))} |"
        for name in description.names
    ]
    regions, adjacent = description.view.regions, description.view.adjacent_slices
    of = "region" if regions else "class"
    means = "mean over regions" if regions else "mean (foreground Dice, all-class IoU)"
    further = sorted(name for name in scores if "/" not in name and name not in ("dice", "miou"))
    return "\n".join(
        [
            f"# Segmentation network {digest(description.candidate)[:12]}",
            "",
            (
                f"Classes: {', '.join(description.class_names)}. "
                + (f"Regions: {in_words(regions, description.class_names)}. " if regions else "")
                + f"Input: {', '.join(description.channels)}, windows of "
                f"{' x '.join(map(str, description.view.size))} ({description.view.view}"
                + (f", each with {adjacent} on either side: {SLICE_ORDER}" if adjacent else "")
                + ")."
            ),
            "",
            "![the network](network.svg)",
            "",
            "| fact | value |",
            "|---|---|",
            *rows,
            f"| parameters | {numbers.parameters:,} |",
            f"| MACs a window | {numbers.macs:,} |",
            f"| data digest | `{description.view.digest}` |",
            "",
            f"## Scores on {evidence['split']} ({len(evidence['cases'])} cases), measured from {source}",
            "",
            f"| {of} | Dice | IoU |",
            "|---|---|---|",
            *per_class,
            f"| {means} | {_score(scores.get('dice'))} | {_score(scores.get('miou'))} |",
            "",
            f"Further: {', '.join(f'{name} {_score(scores[name])}' for name in further)}.",
            "",
            (
                "Counts are summed over all cases; ignored pixels count nowhere. "
                f"onnxruntime's outputs differ from torch's by at most {evidence['outputs']['difference']:.2g} "
                f"where logits reach {evidence['outputs']['largest']:.3g}."
            ),
            "",
            "## Use",
            "",
            f"    segsearch predict THIS_FOLDER {example} --out predictions",
            "    segsearch verify THIS_FOLDER",
            "",
            "## Candidate",
            "",
            "```json",
            json.dumps(to_json(description.candidate), indent=1),
            "```",
            "",
        ]
    )


def draw_network(description: Description) -> bytes:
    """The network as SVG, for the card."""
    from workers.drawing import draw  # matplotlib takes a moment to import, and most commands draw nothing

    return draw(
        description.candidate,
        in_channels=description.num_inputs,
        num_classes=description.num_outputs,
        input_size=description.view.size,
        title=digest(description.candidate)[:12],
    )


def _score(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
