"""Exports that prove themselves: reloaded from disk, compared with the trained network, measured again from raw files."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import workers
from search_spaces.candidate import Candidate, from_json
from workers.checkpoint import load_checkpoint, trained_weights
from workers.contract import JSON, DataView
from workers.data.dataset import Case, Dataset, open_dataset
from workers.data.raw import raw_cases
from workers.errors import DataError, ExportError
from workers.evaluate import Evaluation, evaluate
from workers.inference import Network, case_scores
from workers.measure import measure_names, measures
from workers.metrics import metric_names
from workers.model_card import draw_network, model_card
from workers.network_file import (
    DESCRIPTION,
    ONNX,
    WEIGHTS,
    Description,
    build_network,
    describe_network,
    load_description,
    load_onnx,
    load_torch,
    save_onnx,
)
from workers.picture import DRAWING
from workers.preprocessing import Prepared, prepare
from workers.source import first_five

PROOF = "proof.json"
CARD = "model_card.md"
SEALED = (WEIGHTS, DESCRIPTION, ONNX, CARD, DRAWING)

OUTPUT_TOLERANCE = 1e-3  # of the largest logit; fp32 sums in another order differ by about 1e-5 of it
METRIC_TOLERANCE = 1e-3  # of a Dice in [0, 1]; voxels whose two best classes tie may fall either way


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network and what was recorded about it.

    Attributes:
        checkpoint: Its committed checkpoint.
        candidate: The candidate as JSON.
        view: How it was trained; names data set and digest.
        split: Split whose metrics were recorded.
        metrics: The recorded metrics.
        facts: What the card tells: search, trial, epoch, seed, worker-seconds.
    """

    checkpoint: str
    candidate: JSON
    view: DataView
    split: str
    metrics: dict[str, float]
    facts: JSON


def export(trained: Trained, dataset: Dataset, folder: Path, *, raw: Path | None) -> JSON:
    """Write an export and prove it; nothing is left where the proof fails.

    Args:
        trained: What to export.
        dataset: The ingested data set that it was trained on.
        folder: Where to; must not exist.
        raw: Folder of the raw files that the data set was ingested from; None starts from the stored cases, and says so.

    Returns:
        The proof.

    Raises:
        ExportError: The folder exists, or the proof fails.
    """
    if folder.exists():
        raise ExportError(f"{folder} exists; name another folder or remove it.")
    if dataset.digest != trained.view.digest:
        raise ExportError(
            f"{dataset.location} holds {dataset.digest[:12]}, but the network was trained on {trained.view.digest[:12]}; "
            "give the data set that it was trained on."
        )
    candidate = from_json(Candidate, trained.candidate)
    manifest = dataset.manifest
    description = describe_network(candidate, dataset, trained.view)
    tensors, _ = load_checkpoint(trained.checkpoint)
    weights = trained_weights(tensors)
    making = folder.with_name(f".{folder.name}.making-{os.getpid()}")
    making.mkdir(parents=True)
    try:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, making / WEIGHTS)
        (making / DESCRIPTION).write_text(_json(description.to_json()))
        network = build_network(description, weights)
        save_onnx(network, making, description)
        ids = dataset.ids(trained.split)
        cases = (
            [dataset.case(id) for id in ids]
            if raw is None
            else list(
                raw_cases(raw, ids, source=manifest.source, classes=[info.name for info in manifest.classes])
            )
        )
        check_same_cases(cases, dataset)
        evidence = prove(making, cases, split=trained.split, recorded=trained.metrics, trained=network)
        (making / DRAWING).write_bytes(draw_network(description))
        (making / CARD).write_text(model_card(description, trained.facts, evidence, from_raw=raw is not None))
        proof = {
            "format": 1,
            "made_at": time.time(),
            "versions": versions(),
            "facts": trained.facts,
            **evidence,
        }
        proof["data"] = {
            "digest": dataset.digest,
            "name": manifest.name,
            "source": manifest.source,
            "raw": None if raw is None else str(raw.resolve()),
            "stored": dataset.location
            if "://" in dataset.location
            else str(Path(dataset.location).expanduser().resolve()),
            "cases": {case.id: case_digest(case) for case in cases},
        }
        proof["files"] = {name: _fingerprint(making / name) for name in SEALED}
        (making / PROOF).write_text(_json({**proof, "seal": seal(proof)}))
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return proof


def prove(
    folder: Path,
    cases: Iterable[Case],
    *,
    split: str,
    recorded: Mapping[str, float],
    trained: Network | None = None,
) -> JSON:
    """Reload an export and hold it against what was recorded.

    The reloaded network must give the trained network's outputs exactly (where that is at hand), onnxruntime must agree
    with torch within ``OUTPUT_TOLERANCE`` of the largest logit on every case, and the metric of both, measured from raw
    files, must equal the recorded one within ``METRIC_TOLERANCE``. What is no metric of the confusion matrix is measured
    again with torch only: a distance may jump where a tie of two classes falls the other way.

    Raises:
        ExportError: Any of these fails; the message holds both numbers.
    """
    description = load_description(folder)
    reloaded, onnx = load_torch(folder, description), load_onnx(folder)
    prepared = [prepare(description.fitted, case) for case in cases]
    outputs = _compare_outputs(prepared, description, reloaded, onnx, trained)
    further = measures(measure_names(recorded))
    measured = {
        name: evaluate(
            network,
            prepared,
            description.view,
            names=description.class_names,
            ignore_index=description.ignore_index,
            measures=asked,
        )
        for name, network, asked in (("torch", reloaded, further), ("onnxruntime", onnx, ()))
    }
    _check_metrics("torch", measured["torch"], recorded)
    counted = set(metric_names(description.names, regions=bool(description.view.regions)))
    _check_metrics(
        "onnxruntime",
        measured["onnxruntime"],
        {metric: value for metric, value in recorded.items() if metric in counted},
    )
    return {
        "split": split,
        "recorded": dict(recorded),
        "measured": {name: evaluation.metrics for name, evaluation in measured.items()},
        "metric_tolerance": METRIC_TOLERANCE,
        "outputs": outputs,
        "cases": dict(zip(measured["torch"].ids, measured["torch"].counts.tolist(), strict=True)),
    }


def verify(folder: Path, *, raw: Path | None = None) -> JSON:
    """Check an export's seal, then prove it again from raw files.

    Args:
        folder: The export.
        raw: Folder of the raw files; default is where they lay when the export was made.

    Raises:
        ExportError: Altered, or not what was recorded.
        DataError: The raw files are not there.
    """
    proof = check_seal(folder)
    ids, data = tuple(proof["cases"]), proof["data"]
    source = raw or (None if data["raw"] is None else Path(data["raw"]))
    if source is None:
        dataset = open_dataset(data["stored"], digest=data["digest"])
        evidence, cases = f"the stored data set {data['stored']}", [dataset.case(id) for id in ids]
    elif source.is_dir():
        names = load_description(folder).class_names
        cases = list(raw_cases(source, ids, source=data["source"], classes=names))
        evidence = f"the raw files in {source}"
    else:
        raise DataError(f"the raw files are not at {source}; name their folder with --raw.")
    changed = [case.id for case in cases if case_digest(case) != data["cases"][case.id]]
    if changed:
        raise ExportError(
            f"{first_five('cases differ from those that the proof was made on', changed)}; "
            "give the files as they were."
        )
    return {"evidence": evidence, **prove(folder, cases, split=proof["split"], recorded=proof["recorded"])}


def check_seal(folder: Path) -> JSON:
    """The proof of an export, after every file was compared with it.

    Raises:
        ExportError: Not an export, a file is missing or altered, or the proof itself was edited.
    """
    path = folder / PROOF
    if not path.is_file():
        raise ExportError(f"{folder} is no export: it has no {PROOF}.")
    try:
        content = json.loads(path.read_text())
        claimed, listed = content.pop("seal"), set(content["files"])
        altered = [name for name, facts in content["files"].items() if _fingerprint(folder / name) != facts]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ExportError(f"{path} was altered: it is not a proof any more.") from None
    if claimed != seal(content) or listed | {DRAWING} != set(SEALED):  # older exports have no drawing
        raise ExportError(f"{path} was altered: its seal does not fit its content.")
    if altered:
        raise ExportError(
            f"{folder}: altered or missing since the export was proved: {', '.join(sorted(altered))}."
        )
    return dict(content)


def check_same_cases(cases: list[Case], dataset: Dataset) -> None:
    """Raw files must hold what was ingested.

    Raises:
        ExportError: A case is missing or differs.
    """
    for case in cases:
        if case_digest(dataset.case(case.id)) != case_digest(case):
            raise ExportError(
                f"{case.id}: the raw file differs from what was ingested; ingest it again and search anew."
            )


def case_digest(case: Case) -> str:
    """Hash over what a network sees of a case and is scored against: voxels, labels, geometry."""
    digest = hashlib.sha256(repr(case.spacing).encode())
    for values in (case.image, case.labels, case.affine):
        if values is not None:
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def seal(proof: JSON) -> str:
    """Hash over a proof's content."""
    return hashlib.sha256(json.dumps(proof, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions that results depend on."""
    import onnxruntime

    return {
        "segsearch": workers.__version__,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def _compare_outputs(
    prepared: Sequence[Prepared],
    description: Description,
    reloaded: Network,
    onnx: Network,
    trained: Network | None,
) -> JSON:
    largest = difference = 0.0
    num_classes = description.num_outputs
    with torch.inference_mode():
        for case in prepared:
            ours = case_scores(reloaded, case.image, description.view, num_classes=num_classes)
            theirs = case_scores(onnx, case.image, description.view, num_classes=num_classes)
            if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
                raise ExportError(
                    f"{case.id}: the network gives logits that are not finite; export another trial."
                )
            largest = max(largest, float(np.abs(ours).max()))
            difference = max(difference, float(np.abs(ours - theirs).max()))
            if trained is not None:
                before = case_scores(trained, case.image, description.view, num_classes=num_classes)
                if not np.array_equal(before, ours):
                    raise ExportError(
                        f"{case.id}: the reloaded network differs from the trained one by {np.abs(before - ours).max():g}."
                    )
    if not difference <= OUTPUT_TOLERANCE * max(1.0, largest):
        raise ExportError(
            f"onnxruntime differs from torch by {difference:g} where logits reach {largest:g}; "
            f"allowed is {OUTPUT_TOLERANCE:g} of that."
        )
    return {
        "cases": len(prepared),
        "largest": largest,
        "difference": difference,
        "tolerance": OUTPUT_TOLERANCE,
    }


def _check_metrics(name: str, evaluation: Evaluation, recorded: Mapping[str, float]) -> None:
    measured = evaluation.metrics
    for metric, value in recorded.items():
        again = measured.get(metric)
        if again is None or not abs(again - value) <= METRIC_TOLERANCE:  # a NaN is never within
            raise ExportError(
                f"{metric} was recorded as {value:.6f} but {name} gives {again if again is None else round(again, 6)} "
                f"from the raw files; allowed difference is {METRIC_TOLERANCE:g}."
            )


def _fingerprint(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _json(value: JSON) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
