"""What an export says about its network: everything that turns a raw file into a label map, and nothing that trained it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import onnxruntime
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from search_spaces.candidate import Candidate, from_json, to_json
from search_spaces.network import build_model
from search_spaces.regions import Region
from workers.contract import DataView
from workers.data.dataset import Dataset
from workers.errors import ExportError
from workers.evaluate import class_names
from workers.inference import Network
from workers.preprocessing import Fitted, fit
from workers.regions import by_name

FORMAT = 3  # the newest: 3 where adjacent slices are seen, 2 where regions are described, else 1
WEIGHTS = "model.safetensors"
DESCRIPTION = "candidate.json"
ONNX = "model.onnx"
INPUT, OUTPUT = "image", "logits"


@dataclass(frozen=True, slots=True)
class Description:
    """The content of ``candidate.json``.

    Attributes:
        candidate: What was trained.
        fitted: Its preprocessing with the numbers of the training cases.
        view: Window size, batch, reading of volumes and regions; its data set is named by digest only.
        class_names, colours: Of the K classes of the data set.
        channels: Names of the image channels.
        ignore_index: Label that never counts.
    """

    candidate: Candidate
    fitted: Fitted
    view: DataView
    class_names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    channels: tuple[str, ...]
    ignore_index: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions where it learned some, else of the classes."""
        return tuple(region.name for region in self.view.regions) or self.class_names

    @property
    def num_outputs(self) -> int:
        """Channels of its logits."""
        return self.view.num_outputs(len(self.class_names))

    @property
    def num_inputs(self) -> int:
        """Channels of its input."""
        return self.view.num_inputs(len(self.channels))

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        view = self.view
        regions = [
            {"name": name, "classes": inside}
            for name, inside in by_name(view.regions, self.class_names).items()
        ]
        return {
            "format": 3 if view.adjacent_slices else 2 if regions else 1,
            "candidate": to_json(self.candidate),
            "preprocessing": self.fitted.to_json(),
            "input": {
                "view": view.view,
                "size": list(view.size),
                "batch": view.batch,
                "channels": list(self.channels),
                **({"adjacent_slices": view.adjacent_slices} if view.adjacent_slices else {}),
            },
            "data_digest": view.digest,
            "classes": [
                {"name": name, "rgb": list(rgb)}
                for name, rgb in zip(self.class_names, self.colours, strict=True)
            ],
            "ignore_index": self.ignore_index,
            **({"regions": regions} if regions else {}),
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Description":
        """Inverse of ``to_json``.

        Raises:
            ExportError: Written by a newer version.
        """
        if data["format"] > FORMAT:
            raise ExportError(
                f"the export has format {data['format']}; this version reads up to {FORMAT}: update segsearch."
            )
        view = data["input"]
        names = tuple(info["name"] for info in data["classes"])
        regions = tuple(
            Region(region["name"], tuple(names.index(name) for name in region["classes"]))
            for region in data.get("regions", ())
        )
        return Description(
            candidate=from_json(Candidate, data["candidate"]),
            fitted=Fitted.from_json(data["preprocessing"]),
            view=DataView(
                "",
                data["data_digest"],
                view["view"],
                tuple(view["size"]),
                view["batch"],
                regions=regions,
                adjacent_slices=view.get("adjacent_slices", 0),
            ),
            class_names=names,
            colours=tuple(tuple(info["rgb"]) for info in data["classes"]),
            channels=tuple(view["channels"]),
            ignore_index=data["ignore_index"],
        )


def describe_network(candidate: Candidate, dataset: Dataset, view: DataView) -> Description:
    """The description of a candidate that was trained on a data set."""
    manifest = dataset.manifest
    return Description(
        candidate=candidate,
        fitted=fit(candidate.preprocessing, manifest),
        view=view,
        class_names=class_names(dataset),
        colours=tuple(info.rgb for info in manifest.classes),
        channels=tuple(manifest.channels),
        ignore_index=manifest.ignore_index,
    )


def load_description(folder: Path) -> Description:
    """The description of an exported network."""
    return Description.from_json(json.loads((folder / DESCRIPTION).read_text()))


def build_network(description: Description, weights: dict[str, Tensor]) -> nn.Module:
    """The described network with these weights, in evaluation mode."""
    model = build_model(
        description.candidate.architecture,
        in_channels=description.num_inputs,
        num_classes=description.num_outputs,
        ndim=len(description.view.size),
    )
    model.load_state_dict(weights)
    if len(description.view.size) == 2:
        model = model.to(memory_format=torch.channels_last)
    return model.eval()


def load_torch(folder: Path, description: Description) -> Network:
    """The exported network run by torch."""
    return build_network(description, load_file(folder / WEIGHTS))


def load_onnx(folder: Path, *, threads: int = 0) -> Network:
    """The exported network run by onnxruntime on the CPU; 0 threads lets it choose."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / ONNX), options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])

    return cast(Callable[[Tensor], Tensor], run)


def save_onnx(model: nn.Module, folder: Path, description: Description) -> None:
    """Write ``model.onnx``: one file, any batch, the trained window size."""
    size = description.view.size
    example = torch.zeros(2, description.num_inputs, *size)
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},),
        verbose=False,
    )
    assert program is not None
    program.save(str(folder / ONNX), external_data=False)
