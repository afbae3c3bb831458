"""Adversarial term."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from search_spaces.loss import Cost, LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Need, Scores


@entry("adversarial")
@dataclass(frozen=True, slots=True)
class Adversarial(LossTerm):
    """How surely a critic tells the prediction from a label: mean of -log sigmoid(critic(image, p)).

    The critic is trained beside the network, by ``critic.critic_loss``. It sees predictions only, so the term learns from
    unlabelled samples, too.

    Source: Luc et al. 2016, "Semantic segmentation using adversarial networks", section 3.1, arXiv:1611.08408, in the form
        that does not saturate; the survey's Eq. 1.
    Deviations: none.
    """

    role: ClassVar[Role] = "regulariser"
    gradient_everywhere: ClassVar[bool] = False
    least_at_truth: ClassVar[bool] = False
    unlabelled: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({"image", "critic"})
    cost: ClassVar[Cost] = "forward"

    def value(self, scores: Scores) -> Tensor:
        return F.softplus(-scores.critic(scores.image, scores.softmax)).mean()
