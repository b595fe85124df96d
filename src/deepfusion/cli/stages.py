"""The stages of the workflow: one command for each rule."""

from pathlib import Path
from typing import Annotated

import typer

from deepfusion.cli.app import STAGES, app, log
from deepfusion.cli.inspect import summary
from deepfusion.cli.options import (
    Clips,
    Device,
    Dtype,
    EngineName,
    Folds,
    LimitsText,
    Manifest,
    Out,
    SettingsText,
    StorePath,
    Threads,
)
from deepfusion.errors import UserError

# Heavy packages are imported inside the commands: `deepfusion --help` and the light stages stay quick.


def _clips(manifest: Path):
    from deepfusion.corpora.manifest import read_manifest

    return read_manifest(manifest, labels=None)


def _folds(text: str, store: Path):
    """Folds from the command line: JSON, or a protocol and the store's table."""
    from deepfusion.config import from_json
    from deepfusion.corpora.folds import Fold
    from deepfusion.corpora.needs import divide
    from deepfusion.store import FeatureStore

    if text not in ("loso", "kfold", "split", "published"):
        return from_json(list[Fold], text)
    with FeatureStore(store) as opened:
        clips = opened.clips.reset_index()
    return divide(clips, protocol=text, k=4, purpose="training", origin=f"the store {store}")


@app.command(rich_help_panel=STAGES)
def manifest(
    out: Out,
    corpus: Annotated[str, typer.Option(help="JSON, as the group `corpus` in config.yaml.")] = "{}",
) -> None:
    """Write the resolved manifest of a corpus: every clip with its id, file, label and speaker."""
    from deepfusion.config import CorpusSettings, from_json
    from deepfusion.corpora.manifest import write_manifest
    from deepfusion.plan import load_corpus

    loaded = load_corpus(from_json(CorpusSettings, corpus), out.parent)
    write_manifest(out, loaded.clips)
    log.info("%s: %d clips", out, len(loaded.clips))


@app.command(rich_help_panel=STAGES)
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the corpus.")],
    speaker: Annotated[str, typer.Option(help="Generate this speaker's clips.")],
    settings: SettingsText = "{}",
) -> None:
    """Generate one synthetic speaker of the demo corpus."""
    from deepfusion.config import DemoSettings, from_json
    from deepfusion.corpora.demo.render import generate

    made = generate(out, speaker=speaker, **from_json(DemoSettings, settings).model_dump())
    log.info("%d clips of %s in %s", len(made), speaker, out)


@app.command(rich_help_panel=STAGES)
def faces(
    clips: Clips,
    out: Out,
    settings: SettingsText = "{}",
    limits: LimitsText = "{}",
    workers: Annotated[int, typer.Option(min=1, help="Processes; each works on one clip at a time.")] = 1,
) -> None:
    """Detect faces and track one person through each clip of a shard."""
    import cv2

    from deepfusion.config import FaceSettings, LimitSettings, from_json
    from deepfusion.extract.faces import faces_shard

    cv2.setNumThreads(1)  # the other cores process other shards
    chosen, bounds = from_json(FaceSettings, settings), from_json(LimitSettings, limits)
    faces_shard(_clips(clips), out, settings=chosen, limits=bounds, workers=workers)


@app.command(rich_help_panel=STAGES)
def spectrogram(
    clips: Clips,
    out: Out,
    settings: SettingsText = "{}",
    limits: LimitsText = "{}",
    dtype: Dtype = "float32",
) -> None:
    """Compute the spectrograms of a shard."""
    from deepfusion.config import LimitSettings, SpectrogramSettings, from_json
    from deepfusion.extract.spectrogram import spectrogram_shard

    chosen, bounds = from_json(SpectrogramSettings, settings), from_json(LimitSettings, limits)
    spectrogram_shard(_clips(clips), out, settings=chosen, limits=bounds, dtype=dtype)


@app.command("audio-encoder", rich_help_panel=STAGES)
def audio_encoder(
    spectrograms: Annotated[Path, typer.Option(help="Shard of spectrograms, as `deepfusion spectrogram` writes it.")],
    out: Out,
    settings: SettingsText = "{}",
    threads: Threads = 1,
) -> None:
    """Compute the positions of the pre-trained audio encoder from the spectrograms of a shard."""
    import torch

    from deepfusion.config import AudioEncoderSettings, from_json
    from deepfusion.extract.audio_encoder import encoder_shard

    torch.set_num_threads(threads)
    encoder_shard(spectrograms, out, settings=from_json(AudioEncoderSettings, settings))


@app.command(rich_help_panel=STAGES)
def networks(
    clips: Clips,
    tracks: Annotated[Path, typer.Option(help="Face tracks of the same shard.")],
    out: Annotated[list[Path], typer.Argument(help="Files to write, one per slot, in the order of the settings.")],
    settings: SettingsText,
    limits: LimitsText = "{}",
    dtype: Dtype = "float32",
    rate: Annotated[float | None, typer.Option(help="Frames per second that the networks see; default: all.")] = None,
    device: Device = "auto",
    engine: EngineName = "auto",
    threads: Annotated[
        int, typer.Option(help="For the networks on a CPU; for decoding and cropping with another device.", min=1)
    ] = 1,
) -> None:
    """Compute face features of a shard; the video is decoded once for all networks."""
    import cv2
    import torch

    from deepfusion.config import LimitSettings, Networks, from_json
    from deepfusion.extract.networks import network_shards
    from deepfusion.networks import inference

    chosen, where = from_json(Networks, settings), inference.device(device)
    cv2.setNumThreads(1)  # crops are too small to parallelise
    torch.set_num_threads(threads)
    if len(chosen) != len(out):
        raise UserError(f"{len(chosen)} slots ({', '.join(chosen)}) and {len(out)} files to write: give one for each")
    network_shards(
        _clips(clips),
        tracks,
        dict(zip(chosen, out, strict=True)),
        networks=chosen,
        dtype=dtype,
        device=where,
        rate=rate,
        engine=engine,
        limits=from_json(LimitSettings, limits),
        workers=0 if where.type == "cpu" else threads,
    )


@app.command(rich_help_panel=STAGES)
def store(
    manifest: Manifest,
    shards: Annotated[Path, typer.Option(help="Folder of the shards: <stage>/<shard>.h5.")],
    config: Annotated[str, typer.Option(help="The configuration as JSON; stored in the file.")],
    out: Out,
) -> None:
    """Join the shards of all stages into one feature store."""
    from deepfusion.config import Extraction, from_json
    from deepfusion.extract.store import join

    join(manifest, shards, out, config=from_json(Extraction, config))


@app.command(rich_help_panel=STAGES)
def publish(
    joined: Annotated[Path, typer.Argument(help="A store, as `deepfusion store` writes it.", exists=True)], out: Out
) -> None:
    """Give a joined store its final name, and print a summary."""
    from deepfusion.extract import store as stage

    stage.publish(joined, out)
    log.info("%s\n%s", out, summary(out, listed=20))


@app.command("train-fbp", rich_help_panel=STAGES)
def train_fbp(
    store: StorePath,
    folds: Folds,
    out: Annotated[Path, typer.Option(help="Folder for metrics, predictions, choices, attention and the model.")],
    everyone: Annotated[
        str, typer.Option(help="JSON: the fold of the model for new clips; its `choose` is a split, or empty.")
    ] = '{"name": "everyone", "test": []}',
    settings: SettingsText = "{}",
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Test FBP on unseen speakers, and train a model on all clips for new clips."""
    import torch

    from deepfusion.config import FusionSettings, from_json
    from deepfusion.corpora.folds import Fold
    from deepfusion.evaluation.summary import summary_markdown
    from deepfusion.fusion import train_fbp as command
    from deepfusion.malloc import keep_freed_memory
    from deepfusion.networks import inference

    keep_freed_memory()
    torch.set_num_threads(threads)
    metrics = command.train_fbp(
        store,
        out,
        _folds(folds, store),
        everyone=from_json(Fold, everyone),
        settings=from_json(FusionSettings, settings),
        device=inference.device(device),
    )
    log.info(
        "%s\n\nmodel: %s (`deepfusion predict --model %s CLIP`)",
        summary_markdown(metrics, metrics["notes"]),
        out / "model",
        out,
    )


@app.command("fusion-study", rich_help_panel=STAGES)
def fusion_study(
    store: StorePath,
    folds: Folds,
    out: Annotated[Path, typer.Option(help="Folder for metrics, predictions, choices and attention.")],
    settings: SettingsText = "{}",
    study: Annotated[str, typer.Option(help="JSON, as `study` in config.yaml; default: its defaults.")] = "{}",
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Train and test all fusion models on the same folds; hyperparameters are selected by nested cross-validation."""
    import torch

    from deepfusion.config import FusionSettings, StudySettings, from_json
    from deepfusion.evaluation.summary import summary_markdown
    from deepfusion.fusion.study import run_study
    from deepfusion.malloc import keep_freed_memory
    from deepfusion.networks import inference

    keep_freed_memory()
    torch.set_num_threads(threads)
    metrics = run_study(
        store,
        out,
        _folds(folds, store),
        settings=from_json(FusionSettings, settings),
        study=from_json(StudySettings, study),
        device=inference.device(device),
    )
    log.info("%s", summary_markdown(metrics, metrics["notes"]))
