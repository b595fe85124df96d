"""Commands that train, evaluate, list and fetch networks."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from deepfusion.cli.app import WEIGHTS, app
from deepfusion.cli.options import Device, Out, SettingsText, Threads

# Heavy packages are imported inside the commands: `deepfusion --help` and the light stages stay quick.


@app.command("prepare-fer2013", rich_help_panel=WEIGHTS)
def prepare_fer2013(
    data: Annotated[Path, typer.Option(help="fer2013.csv, icml_face_data.csv, a folder of classes, or an npz file.")],
    out: Out,
    votes: Annotated[Path | None, typer.Option(help="FER+'s fer2013new.csv.")] = None,
    threads: Threads = 1,
) -> None:
    """Read FER2013 and align the face in every image."""
    from deepfusion.fer2013.prepare import prepare

    prepare(data, out, votes=votes, threads=threads)


@app.command(rich_help_panel=WEIGHTS)
def finetune(
    data: Annotated[Path, typer.Option(help="FER2013, as `deepfusion prepare-fer2013` writes it.")],
    network: Annotated[str, typer.Option(help="A network with a name *-fer2013: deepfusion list-networks.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, its card and the training curve.")],
    settings: SettingsText = "{}",
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Fine-tune a face network on FER2013; an interrupted run resumes after its last complete epoch."""
    import torch

    from deepfusion.config import FinetuneSettings, from_json
    from deepfusion.fer2013 import finetune as stage
    from deepfusion.networks import inference

    torch.set_num_threads(threads)
    chosen = from_json(FinetuneSettings, settings)
    stage.finetune(data, out, name=network, settings=chosen, device=inference.device(device))


@app.command(rich_help_panel=WEIGHTS)
def ship(
    data: Annotated[Path, typer.Option(help="FER2013, as `deepfusion prepare-fer2013` writes it.")],
    trained: Annotated[Path, typer.Option(help="Folder written by `deepfusion finetune`.")],
    out: Annotated[Path, typer.Option(help="Folder of the shipped weights and their cards.")],
    storage: Annotated[
        Literal["float32", "float16", "int8"], typer.Option(help="Type of stored matrices and filters.")
    ] = "int8",
    final: Annotated[
        bool, typer.Option("--final", help="Also evaluate on PrivateTest: once, after all choices are made.")
    ] = False,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Store a fine-tuned network in few bytes, and evaluate it as stored on PublicTest."""
    import torch

    from deepfusion.fer2013 import export as stage
    from deepfusion.networks import inference

    torch.set_num_threads(threads)
    usages = ["PublicTest", "PrivateTest"] if final else ["PublicTest"]
    stage.ship(data, trained, out, storage=storage, usages=usages, device=inference.device(device))


@app.command("prepare-speech", rich_help_panel=WEIGHTS)
def prepare_speech(
    manifest: Annotated[Path, typer.Option(help="csv: path, corpus, speaker, label, language, licence.")],
    out: Out,
    settings: SettingsText = "{}",
    spectrogram: Annotated[
        str, typer.Option(help="JSON, as `spectrogram` in config.yaml; default: its defaults.")
    ] = "{}",
    threads: Threads = 1,
) -> None:
    """Compute the spectrograms of emotional speech once, for pretrain-audio."""
    from deepfusion.config import PretrainAudioSettings, SpectrogramSettings, from_json
    from deepfusion.speech.manifest import read
    from deepfusion.speech.prepare import prepare

    clips = read(manifest, from_json(PretrainAudioSettings, settings))
    prepare(clips, out, settings=from_json(SpectrogramSettings, spectrogram), workers=threads)


@app.command("pretrain-audio", rich_help_panel=WEIGHTS)
def pretrain_audio(
    data: Annotated[Path, typer.Option(help="Spectrograms, as `deepfusion prepare-speech` writes them.")],
    out: Annotated[Path, typer.Option(help="Folder for the encoder, its card and the training curve.")],
    settings: SettingsText = "{}",
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Pre-train the audio encoder on emotional speech; an interrupted run resumes after its last complete epoch."""
    import torch

    from deepfusion.config import PretrainAudioSettings, from_json
    from deepfusion.networks import inference
    from deepfusion.speech.pretrain import pretrain

    torch.set_num_threads(threads)
    pretrain(data, out, settings=from_json(PretrainAudioSettings, settings), device=inference.device(device))


@app.command("list-networks", rich_help_panel=WEIGHTS)
def list_networks() -> None:
    """List the face networks for the slots, with sources, licences and citations."""
    from deepfusion.networks.catalogue import CATALOGUE

    for network in CATALOGUE.values():
        print(f"{network.name}: {network.dimension} values, {network.output}\n    weights: {network.source}")
        print(f"    licence: {network.licence}\n    cite: {network.citation}")


@app.command("fetch-weights", rich_help_panel=WEIGHTS)
def fetch_weights(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Networks, as `deepfusion list-networks`.")],
    out: Annotated[Path, typer.Option(help="Folder for the files; the workflow reads results/weights.")],
) -> None:
    """Download published weights; read the printed terms before you use them."""
    from deepfusion.networks.catalogue import find
    from deepfusion.networks.fetch import fetch

    for card in [find(name) for name in names]:
        print(fetch(card, out))
