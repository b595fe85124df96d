"""A clip without sound, or without any face: what stands in for the vector that cannot be had."""

import torch
from torch import Tensor, nn

# Share of the newest batch in the running mean, as in batch normalisation.
MOMENTUM = 0.1


class Impute(nn.Module):
    """Puts the mean attended vector of the training clips where a clip lacks the modality.

    The model then judges by the other modality beside an average voice (or face). A zero would be worse: it makes
    every product of FBP zero, whatever the other modality says. The mean is a running one over the training batches,
    so it knows training speakers alone and adds no parameter.

    Args:
        size: Length of the vector.
    """

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, clip: Tensor) -> Tensor:
        """(B, size) vectors and (L,) int64, the clip of every row that was attended to -> (B, size)."""
        present = torch.zeros(len(x), dtype=torch.bool, device=x.device).index_fill(0, clip, True)
        if self.training and present.any():
            with torch.no_grad():
                momentum = MOMENTUM if self.batches > 0 else 1.0
                self.mean.lerp_(x[present].mean(0), momentum)
                self.batches += 1
        return torch.where(present[:, None], x, self.mean)
