"""The file of a pre-trained audio encoder, read without torch: its path, and the spectrograms it was trained on."""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors

from deepfusion.errors import UserError
from deepfusion.networks import catalogue

SHIPPED_ENCODER = catalogue.SHIPPED / "audio-encoder.safetensors"
"""The shipped weights; their card has the same name with the suffix .json."""
FORMAT = "deepfusion-audio-encoder-1"


def encoder_path(weights: Path | None) -> Path:
    """Path of the weights: the user's file, or the shipped one if None.

    Raises:
        UserError: There is no such file.
    """
    path = Path(weights or SHIPPED_ENCODER)
    if not path.is_file():
        raise UserError(f"audio encoder: there is no file {path}; `snakemake pretrain_audio` makes one")
    return path


def required_spectrogram(path: Path) -> dict[str, float]:
    """Settings of the spectrograms that an encoder was trained on: rate, window_ms, shift_ms, dft, bins.

    Raises:
        UserError: The file is damaged, or is not an audio encoder.
    """
    try:
        with safetensors.safe_open(path, "np") as file:
            metadata = file.metadata() or {}
        if FORMAT not in metadata:
            raise UserError(f"{path}: not an audio encoder of `snakemake pretrain_audio`")
        return dict(json.loads(metadata[FORMAT])["spectrogram"])
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a complete audio encoder file: {error}") from error


def unsuited(weights: Path | None, spectrogram: Mapping[str, float]) -> str:
    """Why an audio encoder cannot read the spectrograms of a configuration, in one line; "" if it can.

    Args:
        weights: The user's file, or None for the shipped one.
        spectrogram: The group `spectrogram` of the configuration.

    Raises:
        UserError: The file is missing or not an audio encoder.
    """
    path = encoder_path(weights)
    needed = required_spectrogram(path)
    other = {name: value for name, value in needed.items() if spectrogram[name] != value}
    if not other:
        return ""
    wanted = ", ".join(f"spectrogram.{name} {value:g}, not {spectrogram[name]:g}" for name, value in other.items())
    return (
        f"no audio/AF in the store: the audio encoder {path.name} was trained with {wanted}; set it so in config.yaml, "
        "or give other weights (audio_encoder.weights)"
    )
