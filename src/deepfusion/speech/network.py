"""The encoder as it is trained: with batch normalisation and identity branches, both folded away at the end.

Source of the identity branches: Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfusion.networks.audio_encoder import Architecture, FrontEnd, Layer, SpeechEncoder


class Block(nn.Module):
    """Convolution and batch normalisation, plus a normalised identity where the shape stays; ReLU; max-pool."""

    def __init__(self, inputs: int, layer: Layer):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, layer.channels, layer.kernel, layer.stride, layer.padding, bias=False)
        self.norm = nn.BatchNorm2d(layer.channels)
        same = inputs == layer.channels and layer.stride == (1, 1)
        self.identity = nn.BatchNorm2d(layer.channels) if same else None
        self.pool = layer.pool
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        y = self.norm(self.convolution(x))
        if self.identity is not None:
            y = y + self.identity(x)
        y = F.relu(y)
        return F.max_pool2d(y, self.pool) if self.pool != (1, 1) else y

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that does the same in evaluation mode."""
        scale, bias = _affine(self.norm)
        weight = self.convolution.weight * scale[:, None, None, None]
        if self.identity is not None:
            scale, shift = _affine(self.identity)
            centre = torch.zeros_like(weight)
            rows = torch.arange(len(weight))
            centre[rows, rows, weight.shape[2] // 2, weight.shape[3] // 2] = scale
            weight, bias = weight + centre, bias + shift
        return weight, bias


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and bias of a batch normalisation in evaluation mode."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - scale * norm.running_mean


class TrainingNetwork(nn.Module):
    """Encoder, attention and one classifier per kind of corpus.

    Args:
        architecture: Of the encoder.
        kinds: Number of classifiers (speech, vocal bursts); the first is kept with the encoder.
        dropout: Before the classifiers.
    """

    def __init__(self, architecture: Architecture, *, kinds: int, dropout: float):
        super().__init__()
        self.architecture = architecture
        self.front = FrontEnd(architecture)
        layers = architecture.layers
        inputs = (1, *(layer.channels for layer in layers))
        self.blocks = nn.Sequential(*(Block(i, layer) for i, layer in zip(inputs, layers, strict=False)))
        channels, labels = layers[-1].channels, len(architecture.labels)
        self.W = nn.Linear(channels, channels)
        self.u = nn.Linear(channels, 1, bias=False)
        self.classifiers = nn.ModuleList(nn.Linear(2 * channels, labels) for _ in range(kinds))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        """(B, 1, rows, T) of the front end, (B,) which classifier -> (B, labels) logits."""
        a = self.blocks(x).float().flatten(2).mT  # (B, positions, C)
        alpha = self.u(torch.tanh(self.W(a))).softmax(1)  # equations (1) and (2), lambda 1
        mean = (alpha * a).sum(1)  # equation (3)
        deviation = ((alpha * (a - mean[:, None]).square()).sum(1) + 1e-4).sqrt()
        pooled = self.dropout(torch.cat([mean, deviation], 1))
        every = torch.stack([classifier(pooled) for classifier in self.classifiers], 1)
        return every[torch.arange(len(x), device=x.device), kind]

    @torch.no_grad()
    def folded(self, kind: int = 0) -> SpeechEncoder:
        """The encoder with one of the classifiers, without batch normalisation, in evaluation mode."""
        encoder = SpeechEncoder(self.architecture)
        encoder.front.load_state_dict(self.front.state_dict())
        for block, convolution in zip(self.blocks, encoder.convolutions, strict=True):
            weight, bias = block.folded()
            convolution.weight.copy_(weight)
            convolution.bias.copy_(bias)
        encoder.W.load_state_dict(self.W.state_dict())
        encoder.u.load_state_dict(self.u.state_dict())
        encoder.classifier.load_state_dict(self.classifiers[kind].state_dict())
        return encoder.eval()
