"""The space of all systems: how fast candidates are drawn and profiled, and whether every one is a network.

- *profiles*: ``--profiles`` candidates of ``everything``, drawn and profiled (parameters, multiply-accumulates, receptive
  field, output stride); candidates a second of one core, in seconds of CPU time. Wanted: 20.
- *runs*: ``--runs`` others are built and run forward and backward on a small image; candidates of more than ``--most``
  parameters are drawn again, as a laptop has no memory for them, and counted.
- *exports*: ``--exports`` of those that ran go through ``torch.export``; with ``--onnx`` through ONNX and onnxruntime instead.
- *memory*: of these, what the estimate of a training step's kept activations differs from the bytes that saved-tensor hooks
  see, in fp32 and in bf16 autocast. Wanted: 5 %.
- *digests*: of ``--digests`` candidates, each also rewritten (its JSON with keys in another order, rates shuffled), how many
  different candidates share a digest, and how many equal ones do not.
- *twins*: of ``--twins`` pairs whose architectures are one decision apart, how many build the same network: the same modules
  and, with the same seed, the same logits in training.

    python benchmarks/space.py
"""

import argparse
import json
import random
import time
import warnings
from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate, architecture_digest, canonical, digest, from_json, to_json
from search_spaces.codec import json_text
from search_spaces.contexts.aspp import Aspp
from search_spaces.memory import Precision, kept_bytes
from search_spaces.network import Network, build_model
from search_spaces.profile import profile
from search_spaces.space import Space, load_space, mutate, sample

IMAGE, CLASSES, BATCH = (1, 32, 32), 3, 2


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="everything")
    parser.add_argument("--profiles", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--most", type=float, default=6e7)
    parser.add_argument("--exports", type=int, default=40)
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("--digests", type=int, default=10_000)
    parser.add_argument("--twins", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    space = load_space(options.space)

    rng, begun = random.Random(0), time.process_time()
    profile(sample(space, random.Random(-1)).architecture, 3, 19, (256, 256))  # first use of the meta device
    begun = time.process_time()
    drawn_s = 0.0
    for _ in range(options.profiles):
        start = time.process_time()
        candidate = sample(space, rng)
        drawn_s += time.process_time() - start
        profile(candidate.architecture, 3, 19, (256, 256))
    taken = time.process_time() - begun
    print(
        f"profiles: {options.profiles} in {taken:.1f} CPU s, {options.profiles / taken:.1f} a second; "
        f"{drawn_s:.1f} s of it for drawing"
    )

    rng, ran, large, failed, errors = random.Random(1), [], 0, [], []
    while len(ran) + len(failed) < options.runs:
        candidate = sample(space, rng)
        if profile(candidate.architecture, IMAGE[0], CLASSES, IMAGE[1:]).parameters > options.most:
            large += 1
            continue
        try:
            errors.append(run(candidate))
            ran.append(candidate)
        except Exception as error:
            failed.append(f"{type(error).__name__}: {str(error)[:150]}")
    print(
        f"runs: {len(ran)} of {options.runs} forward and backward; {large} drawn again, above {options.most:,.0f} parameters"
    )
    for line in failed:
        print(f"  {line}")
    for precision in get_args(Precision):
        off = sorted(error[precision] for error in errors)
        print(
            f"memory, {precision}: estimate off by {off[len(off) // 2]:.2%} at the median, {off[-1]:.2%} at most"
        )

    exported, refused = 0, []
    for candidate in ran[: options.exports]:
        try:
            export(candidate.architecture, onnx=options.onnx)
            exported += 1
        except Exception as error:
            refused.append(
                f"{candidate.architecture.encoder.kind}/{candidate.architecture.decoder.kind}: {str(error)[:150]}"
            )
    print(
        f"exports: {exported} of {min(options.exports, len(ran))}"
        + "".join(f"\n  {line}" for line in refused)
    )

    rng = random.Random(2)
    seen: dict[str, str] = {}
    collisions = splits = 0
    for _ in range(options.digests):
        candidate = sample(space, rng)
        text = json.dumps(to_json(canonical(candidate)), sort_keys=True)
        key = digest(candidate)
        collisions += seen.setdefault(key, text) != text
        splits += digest(rewritten(candidate, rng)) != key
    print(
        f"digests: {options.digests} candidates, {len(seen)} different; {collisions} collisions, {splits} equal ones apart"
    )
    twins(space, options.twins)


def twins(space: Space, count: int) -> None:
    """Look for networks that have two digests."""
    rng, pairs, found = random.Random(3), 0, []
    while pairs < count:
        one = sample(space, rng)
        other = mutate(space, one, rng)
        if architecture_digest(one) == architecture_digest(other):
            continue  # the decision was about loss or recipe
        pairs += 1
        first, second = one.architecture, other.architecture
        if modules(first) == modules(second) and torch.equal(logits(first), logits(second)):
            found.append(f"{json_text(first)}\n  {json_text(second)}")
    print(f"twins: {len(found)} of {pairs} pairs" + "".join(f"\n  {pair}" for pair in found))


def modules(architecture: Architecture) -> str:
    """What a network is made of."""
    with torch.device("meta"):
        network = Network(canonical(architecture), IMAGE[0], CLASSES, 2)
    shapes = [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    return f"{network} {shapes}"


def logits(architecture: Architecture) -> Tensor:
    """All that a network gives in training, with the weights of one seed, in a row."""
    network = build_model(architecture, in_channels=IMAGE[0], num_classes=CLASSES, ndim=2, seed=0)
    torch.manual_seed(0)
    x = torch.randn(BATCH, *IMAGE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.cat([part.flatten() * weight for part, weight in network.training_logits(x)])


def run(candidate: Candidate) -> dict[Precision, float]:
    """A training step in each precision; by how much the estimate of what it keeps is off."""
    network = build_model(candidate.architecture, in_channels=IMAGE[0], num_classes=CLASSES, ndim=2, seed=0)
    return {precision: step(network, candidate.architecture, precision) for precision in get_args(Precision)}


def step(network: Network, architecture: Architecture, precision: Precision) -> float:
    """Forward and backward, both finite; by how much the estimate of what it keeps is off."""
    own = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    x = torch.randn(BATCH, *IMAGE, generator=torch.Generator().manual_seed(0))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            outputs = network.training_logits(x)
        losses = [
            torch.log_softmax(logits.float(), 1).exp().square().sum() * weight for logits, weight in outputs
        ]
    total = torch.stack(losses).sum()
    total.backward()  # type: ignore[no-untyped-call]  # torch has no annotation there
    if not torch.isfinite(total):
        raise ValueError("the loss is not finite")
    seen = sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in own)
    told = kept_bytes(
        architecture,
        in_channels=IMAGE[0],
        num_classes=CLASSES,
        input_size=IMAGE[1:],
        batch=BATCH,
        precision=precision,
    )
    return abs(told / seen - 1)


def export(architecture: Architecture, *, onnx: bool) -> None:
    """Through the exporter, and its outputs compared with the network's."""
    network = build_model(architecture, in_channels=IMAGE[0], num_classes=CLASSES, ndim=2, seed=0).eval()
    x = torch.randn(BATCH, *IMAGE, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        expected = network(x)
        if onnx:
            import onnxruntime

            program = torch.onnx.export(network, (x,), dynamo=True, verbose=False)
            assert program is not None
            runtime = onnxruntime.InferenceSession(
                program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
            )
            found = torch.from_numpy(runtime.run(None, {runtime.get_inputs()[0].name: x.numpy()})[0])
        else:
            found = torch.export.export(network, (x,)).module()(x)
    if (found - expected).abs().max() > 1e-3 * expected.abs().max():
        raise ValueError("the outputs differ")


def rewritten(candidate: Candidate, rng: random.Random) -> Candidate:
    """The same candidate in other words."""

    def shuffled(value: object) -> object:
        if isinstance(value, dict):
            keys = list(value)
            rng.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(part) for part in value] if isinstance(value, list) else value

    again = from_json(Candidate, shuffled(to_json(candidate)))
    context = again.architecture.context
    if isinstance(context, Aspp):
        rates = list(context.rates)
        rng.shuffle(rates)
        context = replace(context, rates=tuple(rates))
    return replace(again, architecture=replace(again.architecture, context=context))


if __name__ == "__main__":
    main()
