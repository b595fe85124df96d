"""The clips of a feature store as tensors, and ragged batches of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deepfusion.corpora.needs import need
from deepfusion.errors import UserError
from deepfusion.fusion.finite import check_clip
from deepfusion.networks.audio_encoder import SHORTEST
from deepfusion.store import FeatureStore


@dataclass(frozen=True)
class Clip:
    """What the fusion sees of one clip."""

    id: str
    label: int  # index into the store's labels
    spectrogram: Tensor  # (T, F) dB; T = 0 without sound, else SHORTEST at least
    faces: Tensor  # (L, C') features of the frames that have a face; L = 0 without any face
    sound_start: float  # s, of the first window of the spectrogram, its middle; NaN without sound
    face_time: np.ndarray  # (L,) s


@dataclass(frozen=True)
class Batch:
    """Some clips, ragged: `audio_clip` and `face_clip` say which clip of the batch a row belongs to."""

    clips: int
    label: Tensor  # (clips,) int64
    spectrogram: Tensor  # (clips with sound, F, T) dB, padded at the end
    audio_length: Tensor  # (clips with sound,) int64 frames
    audio_clip: Tensor  # (clips with sound,) int64
    faces: Tensor  # (frames with a face, C')
    face_clip: Tensor  # (frames with a face,) int64

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


class ClipDataset(Dataset):
    """All clips of a store, resident in memory.

    Frames without a face are left out here, so that attention cannot choose them; the store keeps them.

    Args:
        store: An open feature store.
        features: Face features to join, in this order, for example ["EF-A", "EF-B"].

    Raises:
        UserError: The store does not hold one of the features, or a clip has no label.
        MachineError: A feature that is used is NaN or infinite.
    """

    def __init__(self, store: FeatureStore, *, features: Sequence[str]):
        for name in features:
            if name not in store.networks:
                raise UserError(
                    f"{store.path} holds no face feature {name!r}; it holds {', '.join(store.networks)} "
                    "(fusion.features in the configuration)"
                )
        need(store.clips.reset_index(), "label", purpose="training", origin=f"the store {store.path}")
        self.labels = list(store.labels)
        self.features = list(features)
        self.table = store.clips
        self.key = store.attrs["key"]  # changes with any feature in the store
        sound = store.attributes("spectrogram")
        self.silence = float(sound["floor_db"])
        self.spacing = float(sound["rate"]) / float(sound["dft"])  # Hz from bin to bin
        self.shift = float(sound["shift_ms"]) / 1000  # s from window to window
        index = {label: i for i, label in enumerate(self.labels)}
        self.clips = [self._read(store, id_, index[label]) for id_, label in store.clips["label"].items()]

    def _read(self, store: FeatureStore, id_: str, label: int) -> Clip:
        clip = store[id_]
        read = {name: clip[name] for name in (*self.features, "time", "spectrogram", "audio_time")}
        check_clip(store.path, clip, read)
        valid = clip["valid"]
        faces = np.concatenate([read[name][valid] for name in self.features], axis=1, dtype=np.float32)
        spectrogram = read["spectrogram"].astype(np.float32)
        if 0 < len(spectrogram) < SHORTEST:
            short = SHORTEST - len(spectrogram)
            spectrogram = np.pad(spectrogram, ((0, short), (0, 0)), constant_values=self.silence)
        start = float(read["audio_time"][0]) if len(spectrogram) else float("nan")
        return Clip(id_, label, torch.from_numpy(spectrogram), torch.from_numpy(faces), start, read["time"][valid])

    @property
    def bins(self) -> int:
        """F of the spectrograms."""
        return self.clips[0].spectrogram.shape[1]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, i: int) -> Clip:
        return self.clips[i]

    def positions(self, values: Sequence[str], *, by: str = "speaker") -> list[int]:
        """Positions of all clips of these speakers, or of other values of a column, in the order of the store."""
        return np.flatnonzero(self.table[by].isin(values)).tolist()


def collate(clips: Sequence[Clip]) -> Batch:
    """Join clips, at least one, into a batch."""
    heard = [i for i, clip in enumerate(clips) if len(clip.spectrogram)]
    sounds = [clips[i].spectrogram for i in heard]
    spectrogram = torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True) if sounds else _no_sound(clips)
    frames = torch.tensor([len(clip.faces) for clip in clips])
    return Batch(
        clips=len(clips),
        label=torch.tensor([clip.label for clip in clips]),
        spectrogram=spectrogram.mT,
        audio_length=torch.tensor([len(sound) for sound in sounds], dtype=torch.int64),
        audio_clip=torch.tensor(heard, dtype=torch.int64),
        faces=torch.cat([clip.faces for clip in clips]),
        face_clip=torch.repeat_interleave(torch.arange(len(clips)), frames),
    )


def _no_sound(clips: Sequence[Clip]) -> Tensor:
    return torch.zeros(0, SHORTEST, clips[0].spectrogram.shape[1])
