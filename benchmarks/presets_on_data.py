"""Whether presets learn real images: a fixed short budget each on small CamVid and on ISBI EM, from random weights.

CamVid: 240 x 180, 11 classes, void ignored, SegNet's split (367 to train, 101 to score). ISBI EM: 24 slices to train in random
crops of 256 x 256, the last 6 to score whole, 2 classes. Each preset at its published size, in its own recipe's loss and
learning rate with a cosine over the budget, batches of 8, random flips; bf16 and channels-last on a card. The table holds the
share of right pixels and the mean IoU from one confusion matrix over all scored images, beside a constant answer's.

``--prepare`` reads the images once and writes ``camvid.npz`` and ``isbi_em.npz`` (numpy and torch then suffice):

    SEGSEARCH_DATA=... python benchmarks/presets_on_data.py data/presets --prepare
    python benchmarks/presets_on_data.py data/presets --seconds 10
"""

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from search_spaces.network import build_model
from search_spaces.preset import load_preset

PRESETS = (
    "small_unet", "small_deeplabv3plus", "unet", "segnet", "unetplusplus", "attention_unet", "fc_densenet56",
    "deeplabv3plus_resnet50", "pspnet50", "bisenet",
)  # fmt: skip
SETS = {"camvid": (11, None), "isbi_em": (2, 256)}  # classes, crop
IGNORE, BATCH = 255, 8


def prepare(folder: Path) -> None:
    """Write both sets as arrays."""
    from PIL import Image

    data = Path(os.environ["SEGSEARCH_DATA"])
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for split in ("train", "val"):
        names = sorted(path.name for path in (data / "camvid/CamVid" / split).glob("*.jpg"))
        size = (240, 180)
        images = [
            Image.open(data / "camvid/CamVid" / split / name).convert("RGB").resize(size) for name in names
        ]
        labels = [
            Image.open(data / "camvid/CamVid" / f"{split}annot" / name.replace(".jpg", ".png")).resize(
                size, Image.Resampling.NEAREST
            )
            for name in names
        ]
        arrays[f"{split}_x"] = np.stack([np.asarray(image) for image in images])
        found = np.stack([np.asarray(label) for label in labels]).astype(np.uint8)
        arrays[f"{split}_y"] = np.where(found == 11, IGNORE, found).astype(np.uint8)
    np.savez_compressed(folder / "camvid.npz", **arrays)
    root = data / "isbi_em/membrane/train"
    names = sorted((root / "image").glob("*.png"), key=lambda path: int(path.stem))
    x = np.stack([np.asarray(Image.open(path).convert("L")) for path in names])[..., None]
    y = np.stack(
        [np.asarray(Image.open(root / "label" / path.name).convert("L")) > 127 for path in names]
    ).astype(np.uint8)
    np.savez_compressed(folder / "isbi_em.npz", train_x=x[:24], train_y=y[:24], val_x=x[24:], val_y=y[24:])


def main() -> None:
    """Print one table a set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="Of training steps, for each preset and set."
    )
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--sets", default=",".join(SETS))
    options = parser.parse_args()
    if options.prepare:
        prepare(options.folder)
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{where}, torch {torch.__version__}, {options.seconds:g} s of training each")
    for name in options.sets.split(","):
        arrays = dict(np.load(options.folder / f"{name}.npz"))
        print(f"\n{name}: constant answer {constant(arrays['val_y'], SETS[name][0])}")
        print("| preset | parameters | steps | ms a step | accuracy | mIoU |\n|---|---|---|---|---|---|")
        for preset in options.presets.split(","):
            try:
                print(row(preset, arrays, *SETS[name], seconds=options.seconds, device=device), flush=True)
            except Exception as error:  # the next preset is measured all the same
                print(f"| {preset} | {type(error).__name__}: {str(error)[:150]} |", flush=True)


def constant(labels: np.ndarray, classes: int) -> str:
    """What the most frequent class everywhere gets."""
    counts = np.bincount(labels[labels != IGNORE].ravel(), minlength=classes)
    share = counts.max() / counts.sum()
    return f"accuracy {share:.3f}, mIoU {share / np.count_nonzero(counts):.3f}"


def row(
    preset: str, arrays: dict[str, np.ndarray], classes: int, crop: int | None, *, seconds: float, device: str
) -> str:
    """Train and score one preset."""
    candidate = load_preset(preset).candidate()
    channels = arrays["train_x"].shape[-1]
    network = build_model(candidate.architecture, in_channels=channels, num_classes=classes, ndim=2, seed=0)
    network = network.to(device, memory_format=torch.channels_last)
    recipe = candidate.recipe
    optimiser = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    images, labels = _images(arrays["train_x"], device), torch.from_numpy(arrays["train_y"]).to(device)
    generator = torch.Generator().manual_seed(0)
    autocast = torch.autocast(device, torch.bfloat16, enabled=device == "cuda")
    network.train()
    begun, steps = time.perf_counter(), 0
    while (done := (time.perf_counter() - begun) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = (
                recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done)) * min(1.0, (steps + 1) / 20)
            )
        x, y = _batch(images, labels, crop, generator)
        with autocast:
            outputs = network.training_logits(x)
        loss = torch.stack(
            [weight * candidate.loss(logits, y, ignore_index=IGNORE) for logits, weight in outputs]
        ).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation there
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimiser.step()
        steps += 1
        if device == "cuda":
            torch.cuda.synchronize()
    counts = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    network.eval()
    val_x, val_y = _images(arrays["val_x"], device), torch.from_numpy(arrays["val_y"]).to(device)
    with torch.inference_mode(), autocast:
        for first in range(0, len(val_x), 2):
            predicted, truth = network(val_x[first : first + 2]).argmax(1), val_y[first : first + 2].long()
            valid = truth != IGNORE
            pairs = truth[valid] * classes + predicted[valid]
            counts += torch.bincount(pairs, minlength=classes * classes).view(classes, classes)
    hits = counts.diagonal().double()
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    miou = float((hits / union)[union > 0].mean())
    parameters = sum(weight.numel() for weight in network.parameters())
    accuracy = float(hits.sum() / counts.sum())
    return f"| {preset} | {parameters:,} | {steps} | {1000 * seconds / steps:.0f} | {accuracy:.3f} | {miou:.3f} |"


def _images(values: np.ndarray, device: str) -> Tensor:
    x = torch.from_numpy(values).to(device).movedim(-1, 1).float()
    dims = (1, 2, 3)
    x = (x - x.mean(dims, keepdim=True)) / x.std(dims, keepdim=True)
    return x.contiguous(memory_format=torch.channels_last)


def _batch(
    images: Tensor, labels: Tensor, crop: int | None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    picked = torch.randint(len(images), (BATCH,), generator=generator).tolist()
    xs, ys = [], []
    for index in picked:
        x, y = images[index], labels[index]
        if crop is not None:
            top, left = (int(torch.randint(size - crop + 1, (1,), generator=generator)) for size in y.shape)
            x, y = x[:, top : top + crop, left : left + crop], y[top : top + crop, left : left + crop]
        if torch.rand(1, generator=generator) < 0.5:
            x, y = x.flip(-1), y.flip(-1)
        xs.append(x)
        ys.append(y)
    return torch.stack(xs).contiguous(memory_format=torch.channels_last), torch.stack(ys).long()


if __name__ == "__main__":
    main()
