"""Where a model that was trained end to end listened and looked: its attention in every tested clip, as arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from deepfusion.fusion.attention_file import write_attention_file
from deepfusion.fusion.data import ClipDataset, collate
from deepfusion.fusion.models import AudioBranch, VideoBranch
from deepfusion.networks.audio_encoder import centres, output_length

KINDS = {"sound": AudioBranch, "faces": VideoBranch}


def attention(
    model: nn.Module, dataset: ClipDataset, positions: Sequence[int], device: torch.device
) -> dict[str, list[np.ndarray]]:
    """Attention weights of every clip, in the order of `positions`, of each modality that the model has.

    Returns:
        sound: (T', F') of each clip, over time and frequency; faces: (L,), over the frames with a face. They sum to 1;
        a clip without the modality has none.
    """
    branches = {kind: m for kind, of in KINDS.items() for m in model.modules() if isinstance(m, of)}
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in branches}
    bands = int(output_length(torch.tensor(dataset.bins)))
    model.eval()
    with torch.inference_mode():
        for i in positions:
            batch = collate([dataset[i]]).to(device)
            for kind, branch in branches.items():
                _, alpha, _ = branch(batch)
                if kind == "sound":  # it comes frequency-major
                    alpha = alpha.reshape(bands, len(alpha) // bands).T
                found[kind].append(alpha.float().cpu().numpy())
    return found


def sound_times(dataset: ClipDataset, position: int, windows: int) -> np.ndarray:
    """(windows,) s, on the clip's clock: the middle of what each of the encoder's positions hears."""
    return dataset[position].sound_start + centres(windows).numpy() * dataset.shift


def write_attention(
    path: Path, dataset: ClipDataset, positions: Sequence[int], found: dict[str, list[np.ndarray]], **attributes: object
) -> None:
    """Write what `attention` found, ragged like the feature store: clip i has the rows offsets[i] to offsets[i + 1].

    Args:
        path: HDF5 file: `clip`; `sound` and `faces` with `offsets`, `weight`, `time` (s); `sound/frequency` (Hz) of the
            columns of `sound/weight`.
        dataset: All clips.
        positions: Of the clips.
        found: See `attention`.
        attributes: Of the file, such as the model's name.
    """
    times = {
        "sound": lambda i, weight: sound_times(dataset, i, len(weight)),
        "faces": lambda i, _: dataset[i].face_time,
    }
    kinds = {
        kind: [(w, times[kind](i, w)) for i, w in zip(positions, weights, strict=True)]
        for kind, weights in found.items()
    }
    heard = [weights.shape[1] for weights in found.get("sound", ())]
    frequency = centres(heard[0]).numpy() * dataset.spacing if heard else None
    write_attention_file(path, [dataset[i].id for i in positions], kinds, frequency=frequency, **attributes)
