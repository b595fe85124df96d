"""Published filters for the audio encoder: torchvision's AlexNet, trained on ImageNet.

Its five convolutions have the encoder's kernels, strides and paddings. It is the AlexNet of Krizhevsky 2014: filters
64, 192, 384, 256, 256 and no local response normalisation, which the encoder, like the first AlexNet and the paper
group's, has behind the first two. So what reaches the later filters is not quite what they learned from.
"""

from pathlib import Path

from deepfusion.errors import UserError
from deepfusion.networks import state_dict
from deepfusion.networks.audio_encoder import AudioEncoder
from deepfusion.networks.catalogue import file_sha256

PLACES = (0, 3, 6, 8, 10)  # of the convolutions in torchvision's `features`


def sha256(path: Path) -> str:
    """SHA-256 of the file's content, in hexadecimal digits.

    Raises:
        UserError: There is no such file.
    """
    if not path.is_file():
        raise UserError(f"fusion.audio_weights: there is no file {path}")
    return file_sha256(path)


def fill(encoder: AudioEncoder, path: Path) -> None:
    """Put the convolutions of an AlexNet into the encoder.

    The filters that see red, green and blue are summed: that is what they answer to a grey picture.

    Args:
        encoder: With the filters of the file.
        path: torchvision's alexnet-owt-7be5be79.pth, or a file of the same names and shapes (.pth, .safetensors).

    Raises:
        UserError: It cannot be read without running code in it, or holds something else.
    """
    tensors = state_dict.read(path)
    first = f"features.{PLACES[0]}.weight"
    if first in tensors and tensors[first].ndim == 4:
        tensors[first] = tensors[first].sum(1, keepdim=True)
    ours = {
        f"features.{place}.{part}": f"convolutions.{i}.{part}"
        for i, place in enumerate(PLACES)
        for part in ("weight", "bias")
    }
    state_dict.fill(encoder, tensors, ours, path=path, network="torchvision's AlexNet", unused=r"classifier\..*")
