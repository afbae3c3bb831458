"""The critic of a trial whose loss has an adversarial term: trained beside the network, kept in its checkpoints."""

from dataclasses import dataclass

import torch
from torch import Tensor

from search_spaces.critic import Critic, build_critic, critic_loss
from search_spaces.region_loss import region_critic_loss
from search_spaces.regions import Regions
from workers.checkpoint import pack, unpack

PREFIX = "critic/"
RATE = 2e-4  # Isola et al. 2017, arXiv:1611.07004, section 3.3
BETAS = (0.5, 0.999)


@dataclass(slots=True)
class Adversary:
    """A critic and its optimiser.

    Attributes:
        critic: The network.
        optimiser: Adam, as in Isola et al.
    """

    critic: Critic
    optimiser: torch.optim.Optimizer

    def step(
        self, image: Tensor, logits: Tensor, labels: Tensor, *, ignore_index: int, regions: Regions = ()
    ) -> None:
        """One step of the critic on the batch that the network has just seen; its logits are of regions where there are any."""
        self.optimiser.zero_grad(set_to_none=True)  # the network's step left gradients here, too
        if regions:
            loss = region_critic_loss(self.critic, image, logits, labels, regions, ignore_index=ignore_index)
        else:
            loss = critic_loss(self.critic, image, logits, labels, ignore_index=ignore_index)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation there
        self.optimiser.step()

    def packed(self) -> dict[str, Tensor]:
        """The tensors for a checkpoint, by name."""
        return {PREFIX + name: tensor for name, tensor in pack(self.critic, None, self.optimiser).items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take the tensors of a checkpoint."""
        own = {name.removeprefix(PREFIX): t for name, t in tensors.items() if name.startswith(PREFIX)}
        unpack(own, self.critic, None, self.optimiser)


def build_adversary(
    in_channels: int, num_classes: int, *, ndim: int, seed: int, device: torch.device
) -> Adversary:
    """A critic at its start; its weights are a function of the seed."""
    critic = build_critic(in_channels, num_classes, ndim=ndim, seed=seed).to(device)
    return Adversary(critic, torch.optim.Adam(critic.parameters(), lr=RATE, betas=BETAS))
