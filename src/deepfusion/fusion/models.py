"""The networks that are compared: sound alone, faces alone, the sum of both scores, and the paper's FBP."""

from dataclasses import dataclass

from torch import Tensor, nn

from deepfusion.config import FusionSettings
from deepfusion.fusion.attention import AudioAttention, VideoAttention
from deepfusion.fusion.data import Batch
from deepfusion.fusion.fbp import FBP
from deepfusion.fusion.missing import Impute
from deepfusion.fusion.standardise import Standardise
from deepfusion.networks.audio_encoder import AudioEncoder


@dataclass(frozen=True)
class Sizes:
    """What the data decides."""

    bins: int  # F of the spectrogram
    features: int  # C', length of the joined face features
    classes: int


class AudioBranch(nn.Module):
    """Spectrograms -> one attended vector a clip: encoder, then equations (1)-(3)."""

    def __init__(self, sizes: Sizes, settings: FusionSettings):
        super().__init__()
        self.standardise = Standardise(sizes.bins)
        self.encoder = AudioEncoder(settings.audio_channels)
        self.attention = AudioAttention(self.encoder.channels, lam=settings.lam)
        self.impute = Impute(self.encoder.channels)
        self.size = self.encoder.channels

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """A batch -> (clips, C) vectors, (L,) attention weights, (L,) the clip that each weight belongs to."""
        x = self.standardise(batch.spectrogram.mT).mT
        if len(x):
            a, row = self.encoder(x, batch.audio_length)
        else:
            a, row = x.new_zeros(0, self.size), batch.audio_clip
        clip = batch.audio_clip[row]
        pooled, alpha = self.attention(a, clip, batch.clips)
        return self.impute(pooled, clip), alpha, clip


class VideoBranch(nn.Module):
    """Features of the frames with a face -> one attended vector v a clip: equations (6)-(9)."""

    def __init__(self, sizes: Sizes, settings: FusionSettings):
        super().__init__()
        self.standardise = Standardise(sizes.features)
        self.attention = VideoAttention(sizes.features, settings.reduced, lam=settings.lam)
        self.impute = Impute(settings.reduced)
        self.size = settings.reduced

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """A batch -> (clips, reduced) vectors, (L,) attention weights, (L,) the clip of each weight."""
        v, clip = self.standardise.then(self.attention.W, batch.faces), batch.face_clip  # (6)
        pooled, alpha = self.attention(v, clip, batch.clips)
        return self.impute(pooled, clip), alpha, clip


class AudioModel(nn.Module):
    """Sound alone."""

    def __init__(self, sizes: Sizes, settings: FusionSettings):
        super().__init__()
        self.audio = AudioBranch(sizes, settings)
        self.classifier = nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(self.audio.size, sizes.classes))

    def forward(self, batch: Batch) -> Tensor:
        """A batch -> (clips, classes) logits."""
        return self.classifier(self.audio(batch)[0])


class VideoModel(nn.Module):
    """Faces alone."""

    def __init__(self, sizes: Sizes, settings: FusionSettings):
        super().__init__()
        self.video = VideoBranch(sizes, settings)
        self.classifier = nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(self.video.size, sizes.classes))

    def forward(self, batch: Batch) -> Tensor:
        """A batch -> (clips, classes) logits."""
        return self.classifier(self.video(batch)[0])


class AdditiveModel(nn.Module):
    """The sum of a score from sound and a score from faces, trained together: the strongest additive fusion."""

    def __init__(self, sizes: Sizes, settings: FusionSettings):
        super().__init__()
        self.of_audio = AudioModel(sizes, settings)
        self.of_video = VideoModel(sizes, settings)

    def forward(self, batch: Batch) -> Tensor:
        """A batch -> (clips, classes) logits."""
        return self.of_audio(batch) + self.of_video(batch)


class FBPModel(nn.Module):
    """The paper's network: both attended vectors, fused by FBP, equation (12), and classified."""

    def __init__(self, sizes: Sizes, settings: FusionSettings):
        super().__init__()
        self.audio = AudioBranch(sizes, settings)
        self.video = VideoBranch(sizes, settings)
        self.fbp = FBP(self.audio.size, self.video.size, k=settings.k, o=settings.o, dropout=settings.dropout)
        self.classifier = nn.Linear(settings.o, sizes.classes)

    def forward(self, batch: Batch) -> Tensor:
        """A batch -> (clips, classes) logits."""
        a, _, _ = self.audio(batch)
        v, _, _ = self.video(batch)
        return self.classifier(self.fbp(a, v))


MODELS = {"audio": AudioModel, "video": VideoModel, "additive": AdditiveModel, "fbp": FBPModel}
# What each model takes in; trained on clips that all lack it, it would predict from nothing.
NEEDED = {"audio": ("audio",), "video": ("a face",), "additive": ("audio", "a face"), "fbp": ("audio", "a face")}
