"""The models with their streams and fusion layers: `train_fbp` trains those of `base`, `fusion_study` all."""

from collections.abc import Sequence

from deepfusion.config import FusionSettings
from deepfusion.fusion.fusion_layers import FUSION_LAYERS
from deepfusion.fusion.network import Design
from deepfusion.fusion.search import Row
from deepfusion.fusion.streams import LANDMARKS, MODALITIES, Modality, check
from deepfusion.store import FeatureStore
from deepfusion.versions import ENCODER

ALONE = {modality: Design((modality,)) for modality in MODALITIES}
Streams = dict[Modality, tuple[str, ...]]
# The paper's own network: FBP as in equation (12), without bias, with MFB's square root.
PAPER = {"bias": False, "signed_sqrt": "mfb"}


def default_streams(settings: FusionSettings, slots: Sequence[str], *, encoder: bool) -> Streams:
    """The streams of the configuration; by default the best ones that a store has.

    Args:
        settings: The configuration.
        slots: Face features of the store, such as EF-A.
        encoder: Whether the store holds the audio encoder's positions.
    """
    audio = settings.audio or (("speech", "speech-clip", "AF-clip") if encoder else ("speech", "speech-clip"))
    return {"audio": audio, "video": settings.video or (*slots, *LANDMARKS)}


def streams_in(store: FeatureStore, settings: FusionSettings) -> Streams:
    """`default_streams` of a store, checked.

    Raises:
        UserError: See `streams.check`.
    """
    streams = default_streams(settings, list(store.networks), encoder=ENCODER in store.keys)
    check(streams, store.keys)
    return streams


def fusion(layer: str, streams: Streams, *, name: str = "", **changes: object) -> Row:
    """A model of both modalities."""
    return Row(name or layer, Design(MODALITIES, layer), streams, changes)


def base(streams: Streams) -> list[Row]:
    """FBP and its baselines: audio alone, video alone, linear concatenation."""
    alone = [Row(modality, ALONE[modality], {modality: streams[modality]}) for modality in MODALITIES]
    return [*alone, fusion("concat", streams), fusion("fbp", streams)]


def study(streams: Streams, slots: Sequence[str], *, encoder: bool) -> list[Row]:
    """All models of the study: those of `base`, further fusion layers, poolings, and streams alone."""
    audio, video = streams["audio"], streams["video"]
    found = base(streams)
    if encoder:
        kinds = {"audio_speech": ("speech", "speech-clip"), "audio_encoder": ("AF", "AF-clip")}
        found += [Row(name, ALONE["audio"], {"audio": names}) for name, names in kinds.items()]
    kinds = {slot: (slot,) for slot in slots} | {"EF": tuple(slots), "landmarks": tuple(LANDMARKS)}
    found += [Row(name, ALONE["video"], {"video": names}) for name, names in kinds.items()]
    for pooling in ("mean", "max"):
        found.append(Row(f"video_{pooling}", Design(("video",), pooling=pooling), {"video": video}))
        found.append(Row(f"fbp_{pooling}", Design(MODALITIES, "fbp", pooling), streams))
    found += [fusion(layer, streams) for layer in FUSION_LAYERS if layer not in ("concat", "fbp")]
    found += [fusion("fbp", {"audio": audio, "video": names}, name=f"fbp_{name}") for name, names in kinds.items()]
    found += [
        fusion("fbp", streams, name="fbp_mfb_root", signed_sqrt="mfb"),
        fusion("fbp", streams, name="fbp_no_bias", bias=False),
    ]
    if encoder:
        found.append(fusion("fbp", {"audio": ("AF",), "video": tuple(slots)}, name="fbp_paper", **PAPER))
    return found


def streams_of(rows: Sequence[Row]) -> list[str]:
    """All streams that models need."""
    return list(dict.fromkeys(name for row in rows for names in row.streams.values() for name in names))


def end_to_end(slots: Sequence[str], *, seed: int) -> list[Row]:
    """`audio_encoder` and `fbp_paper` with the audio encoder trained as well, as in the paper; one network (slow)."""
    one = {"seeds": (seed,), "members": 1}
    audio = Row("audio_end_to_end", ALONE["audio"], {"audio": ("AF", "AF-clip")}, one)
    paper = {"audio": ("AF",), "video": tuple(slots)}
    return [audio, fusion("fbp", paper, name="fbp_end_to_end", **one, **PAPER)]
