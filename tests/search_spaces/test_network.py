"""The builder: sizes, seeds, dimensions, and what networks of ``compact`` must survive."""

import random
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.candidate import Candidate, from_json, to_json
from search_spaces.errors import ShapeError, SpaceError
from search_spaces.layers import Activation, Norm
from search_spaces.network import build_model, pad_to_stride
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.space import load_space, sample

UNET = load_preset("small_unet").candidate().architecture
DEEPLAB = load_preset("small_deeplabv3plus").candidate().architecture
COMPACT = load_space("compact")


def drawn(seed: int) -> Candidate:
    return sample(COMPACT, random.Random(seed))


def step(candidate: Candidate, size: tuple[int, ...]) -> None:
    """One forward and backward pass; every weight gets a finite gradient."""
    network = build_model(candidate.architecture, in_channels=1, num_classes=3, ndim=len(size), seed=0)
    generator = torch.Generator().manual_seed(0)
    logits = network(torch.randn(1, 1, *size, generator=generator))
    assert logits.shape == (1, 3, *size)
    candidate.loss(logits, torch.randint(0, 3, (1, *size), generator=generator)).backward()
    for name, weight in network.named_parameters():
        if weight.grad is None:
            assert candidate.architecture.skip.kind == "none" and name.startswith("decoder.reduce"), name
        else:
            assert torch.isfinite(weight.grad).all(), name


@pytest.mark.parametrize("seed", range(50))
def test_candidates_of_compact_train_in_two_dimensions(seed: int) -> None:
    step(drawn(seed), (64, 64))


@pytest.mark.parametrize("seed", range(100, 106))
def test_candidates_of_compact_train_in_three_dimensions(seed: int) -> None:
    step(drawn(seed), (32, 32, 32))


@pytest.mark.parametrize("size", [(64, 64), (36, 50), (17, 9), (1, 1)])
@pytest.mark.parametrize("architecture", [UNET, DEEPLAB], ids=["unet", "deeplab"])
def test_any_size_is_padded_and_cropped(architecture: Architecture, size: tuple[int, int]) -> None:
    network = build_model(architecture, in_channels=2, num_classes=4, ndim=2, seed=0)
    assert network(torch.zeros(1, 2, *size)).shape == (1, 4, *size)


def test_padding_leaves_two_values_at_the_deepest_stride() -> None:
    assert pad_to_stride(torch.zeros(1, 1, 3, 33), 16).shape == (1, 1, 32, 48)
    assert pad_to_stride(torch.zeros(1, 1, 32, 48), 16).shape == (1, 1, 32, 48)


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "silu"])
def test_a_batch_of_one_small_image_trains(norm: Norm, activation: Activation) -> None:
    architecture = replace(DEEPLAB, norm=norm, activation=activation)
    network = build_model(architecture, in_channels=1, num_classes=2, ndim=2, seed=0)
    network(torch.zeros(1, 1, 8, 8)).sum().backward()


def test_a_seed_makes_the_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first = build_model(UNET, in_channels=1, num_classes=3, ndim=2, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    again = build_model(UNET, in_channels=1, num_classes=3, ndim=2, seed=1).state_dict()
    other = build_model(UNET, in_channels=1, num_classes=3, ndim=2, seed=2).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_activations_keep_their_scale_at_the_start() -> None:
    network = build_model(UNET, in_channels=1, num_classes=3, ndim=2, seed=0)
    logits = network(torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert 0.3 < logits.std().item() < 3  # He's start: neither vanishing nor exploding


def test_channels_last_and_bf16_give_the_same_answer() -> None:
    network = build_model(UNET, in_channels=1, num_classes=3, ndim=2, seed=0).eval()
    x = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = network(x)
        last = network.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
        with torch.autocast("cpu", torch.bfloat16):
            half = network(x)
    assert torch.allclose(plain, last, atol=1e-4)  # another order of float32 sums
    assert torch.allclose(plain, half.float(), atol=0.1)  # bf16 has 8 bits, over 15 layers


def test_auxiliary_heads_take_part_in_training_alone() -> None:
    heads = (Auxiliary("encoder", -2, width=8), Auxiliary("decoder", 1, weight=0.5))
    with_heads = replace(UNET, auxiliary=heads)
    network = build_model(with_heads, in_channels=1, num_classes=3, ndim=2, seed=0)
    plain = build_model(UNET, in_channels=1, num_classes=3, ndim=2, seed=0)
    plain.load_state_dict(
        {name: weight for name, weight in network.state_dict().items() if "auxiliary" not in name}
    )
    x = torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    outputs = network.training_logits(x)
    assert [(tuple(logits.shape), weight) for logits, weight in outputs] == [
        ((1, 3, 40, 40), weight) for weight in (1.0, 0.4, 0.5)
    ]
    assert torch.equal(network(x), plain(x))
    sum(logits.sum() for logits, _ in outputs).backward()  # type: ignore[union-attr]  # a sum of tensors is one
    assert all(weight.grad is not None for weight in network.parameters())
    assert from_json(Architecture, to_json(with_heads)) == with_heads
    assert "auxiliary" not in to_json(UNET)  # digests of what was written before stay


def test_an_auxiliary_head_looks_at_a_map_that_is_there() -> None:
    with pytest.raises(SpaceError, match=r"architecture.auxiliary.0.level: 9 given; the encoder has 4 maps"):
        replace(UNET, auxiliary=(Auxiliary("encoder", 9),))


@pytest.mark.parametrize("change", [{"ndim": 1}, {"in_channels": 0}, {"num_classes": 0}])
def test_impossible_counts_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ShapeError, match="2 or 3 dimensions"):
        build_model(UNET, **({"in_channels": 1, "num_classes": 2, "ndim": 2} | change))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("ndim", [2, 3])
def test_profile_counts_what_is_built(seed: int, ndim: int) -> None:
    architecture = drawn(seed).architecture
    network = build_model(architecture, in_channels=1, num_classes=3, ndim=ndim)
    counted = profile(architecture, 1, 3, (32,) * ndim)
    assert counted.parameters == sum(weight.numel() for weight in network.parameters())


def test_macs_of_unet_by_hand() -> None:
    """Two-level U-Net of one channel-doubling on 8x8: each line is output pixels x inputs x outputs x taps."""
    # fields of the concrete entry
    encoder = replace(UNET.encoder, width=4, widest=8, stages=2, stem=1)  # type: ignore[call-arg]
    macs = (
        64 * (1 * 4 * 9 + 4 * 4 * 9)  # first level
        + 16 * (4 * 8 * 9 + 8 * 8 * 9)  # second level
        + 16 * (8 * 4 * 4)  # transposed, per input pixel
        + 64 * (8 * 4 * 9 + 4 * 4 * 9)  # decoder level
        + 64 * (4 * 3)  # head
    )
    decoder = replace(UNET.decoder, upsample="transposed")  # type: ignore[call-arg]  # fields of the concrete entry
    architecture = replace(UNET, encoder=encoder, decoder=decoder)
    assert profile(architecture, 1, 3, (8, 8)).macs == macs


@pytest.mark.parametrize(("kernel", "rate"), [(3, 2), (5, 2), (3, 6)])
def test_dilated_depthwise_gradients_repeat_in_half_precision(kernel: int, rate: int) -> None:
    """In a process of its own: where the library reads foreign memory, gradients differ, or the process dies."""
    code = f"""
        import torch
        from search_spaces.layers import Layers
        torch.set_num_threads(1)
        torch.manual_seed(0)
        conv = Layers(2).conv(8, 8, kernel={kernel}, rate={rate}, groups=8).to(memory_format=torch.channels_last)
        x = torch.randn(4, 8, 32, 32).to(memory_format=torch.channels_last)
        found = set()
        for _ in range(20):
            rubbish = [torch.full((n,), float("nan")) for n in (100, 1000, 10_000, 100_000)]
            del rubbish
            conv.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                conv(x).float().square().sum().backward()
            assert torch.isfinite(conv.weight.grad).all()
            found.add(float(conv.weight.grad.double().sum()))
        assert len(found) == 1, found
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
