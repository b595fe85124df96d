"""The command line: one command per stage, which the rules of the workflow call, and commands for people."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from deepfusion.atomic import machine_reason
from deepfusion.errors import MachineError, UserError

# Heavy packages are imported inside the commands: `deepfusion --help` and the light stages stay quick.

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Audio-video emotion recognition by attention-guided factorized bilinear pooling.",
)
log = logging.getLogger("deepfusion")

Manifest = Annotated[Path, typer.Option(help="Resolved manifest, as `deepfusion manifest` writes it.")]
Clips = Annotated[Path, typer.Option("--clips", help="Manifest of the clips of one shard.")]
SettingsText = Annotated[
    str, typer.Option("--settings", help="JSON, as the group in config.yaml; default: its defaults.")
]
LimitsText = Annotated[str, typer.Option("--limits", help="JSON, as `limits` in config.yaml; default: its defaults.")]
Out = Annotated[Path, typer.Option(help="File to write.")]
Dtype = Annotated[Literal["float32", "float16"], typer.Option(help="Type of the stored values.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
EngineName = Annotated[
    Literal["auto", "eager", "onnxruntime", "half"], typer.Option("--engine", help="How the networks are computed.")
]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1)]
StorePath = Annotated[Path, typer.Option("--store", help="A feature store.")]
Folds = Annotated[str, typer.Option(help="JSON: a list of {name, test, choose, by}, one per fold.")]


def main() -> None:
    """Run the command line; a usage error is one line and status 2, what the machine refuses is one and status 1."""
    try:
        app()
    except UserError as error:
        log.error("%s", error)
        sys.exit(2)
    except MachineError as error:
        log.error("%s", error)
        sys.exit(1)
    except OSError as error:
        if (line := machine_reason(error)) is None:
            log.exception("internal error (please report)")
        else:
            log.error("%s", line)
        sys.exit(1)
    except Exception:
        log.exception("internal error (please report)")
        sys.exit(1)


def _start_log(file: Path | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, mode="w", encoding="utf-8"))
    handlers[0].setLevel(logging.INFO)  # the file has every clip before it is opened, and every traceback
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(levelname).1s %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.DEBUG)


@app.callback()
def _callback(
    log_file: Annotated[Path | None, typer.Option("--log", help="Also write the log here.")] = None,
) -> None:
    _start_log(log_file)


def _clips(manifest: Path):
    from deepfusion.corpora.manifest import read_manifest

    return read_manifest(manifest, labels=None)


def _summary(store: Path, *, listed: int | None) -> str:
    from deepfusion.report import costs
    from deepfusion.report.summary import store_summary
    from deepfusion.store import FeatureStore

    with FeatureStore(store) as opened:
        return f"{store_summary(opened, listed=listed)}\n{costs.table(opened.ledger)}"


@app.command()
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


@app.command()
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


@app.command()
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

    cv2.setNumThreads(1)  # cores are for other shards
    chosen, bounds = from_json(FaceSettings, settings), from_json(LimitSettings, limits)
    faces_shard(_clips(clips), out, settings=chosen, limits=bounds, workers=workers)


@app.command()
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


@app.command("audio-encoder")
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


@app.command()
def networks(
    clips: Clips,
    tracks: Annotated[Path, typer.Option(help="Face tracks of the same shard.")],
    out: Annotated[list[Path], typer.Argument(help="Files to write, one per slot, in the order of the settings.")],
    settings: SettingsText,
    limits: LimitsText = "{}",
    dtype: Dtype = "float32",
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
    cv2.setNumThreads(1)  # crops are too small to be shared
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
        engine=engine,
        limits=from_json(LimitSettings, limits),
        workers=0 if where.type == "cpu" else threads,
    )


@app.command()
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


@app.command()
def publish(
    joined: Annotated[Path, typer.Argument(help="A store, as `deepfusion store` writes it.", exists=True)], out: Out
) -> None:
    """Give a joined store its final name, and print a summary."""
    from deepfusion.extract import store as stage

    stage.publish(joined, out)
    log.info("%s\n%s", out, _summary(out, listed=20))


@app.command()
def preflight(
    manifest: Manifest,
    config: Annotated[str, typer.Option(help="The configuration as JSON; default: the defaults.")] = "{}",
    device: Device = "auto",
    engine: EngineName = "auto",
    cores: Annotated[int, typer.Option(help="CPU cores that the extraction will have.", min=1)] = os.cpu_count() or 1,
) -> None:
    """Estimate frames, disk space and time per stage of an extraction, by a trial on a few clips."""
    import cv2
    import torch

    from deepfusion.config import Extraction, from_json
    from deepfusion.corpora import read_manifest
    from deepfusion.extract import preflight as stage
    from deepfusion.networks import inference
    from deepfusion.report import costs

    cv2.setNumThreads(1)
    torch.set_num_threads(1)  # as the workflow's jobs
    clips, extraction = read_manifest(manifest, labels=None), from_json(Extraction, config)
    where = inference.device(device)
    found = stage.preflight(clips, config=extraction, device=where, cores=cores, engine=engine)
    print(costs.expected(found))


@app.command()
def info(
    store: Annotated[Path | None, typer.Argument(help="A feature store.")] = None,
    system: Annotated[
        bool, typer.Option("--system", help="Instead: versions, machine and weights, for a bug report.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --system: print one JSON object.")] = False,
) -> None:
    """Summarise a feature store: its contents, clips without faces or audio, failures and reasons, and the cost."""
    import json

    if system == (store is not None):
        raise UserError("give either a feature store or --system")
    if store is not None:
        print(_summary(store, listed=None))
        return
    from deepfusion import doctor

    found = doctor.system()
    print(json.dumps(found) if as_json else doctor.system_lines(found))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per check.")] = False,
) -> None:
    """Check installation, machine and weights, and predict a generated clip; status 1 if a check fails."""
    import dataclasses
    import json

    from deepfusion import doctor as checks

    failed = False
    for check in checks.doctor():
        failed = failed or check.status == "failed"
        line = json.dumps(dataclasses.asdict(check)) if as_json else f"{check.status:8}{check.name}: {check.detail}"
        print(line, flush=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def verify(
    paths: Annotated[list[Path], typer.Argument(help="Stores, shards, or folders that contain them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file.")] = False,
) -> None:
    """Check stores and shards for damage and list the affected datasets and clips; status 1 if there is any."""
    import dataclasses
    import json

    from deepfusion.store.verify import lines
    from deepfusion.store.verify import verify as check

    intact = True
    for found in check(paths):
        intact = intact and not found.problems
        print(json.dumps(dataclasses.asdict(found), default=str) if as_json else lines(found), flush=True)
    if not intact:
        raise typer.Exit(1)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help="A feature store.")],
    b: Annotated[Path, typer.Argument(help="The feature store that it is compared with.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with all clips.")] = False,
) -> None:
    """Compare two feature stores: what differs, and by how much; status 1 if anything does."""
    import json

    from deepfusion.store.diff import diff as compare
    from deepfusion.store.diff import lines

    found = compare(a, b)
    print(json.dumps(found) if as_json else "\n".join(lines(found)))
    if not found["equal"]:
        raise typer.Exit(1)


@app.command("train-fbp")
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
        from_json(list[Fold], folds),
        everyone=from_json(Fold, everyone),
        settings=from_json(FusionSettings, settings),
        device=inference.device(device),
    )
    log.info("%s\n\nmodel: %s (`deepfusion predict --model %s CLIP`)", summary_markdown(metrics), out / "model", out)


@app.command("fusion-study")
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
    from deepfusion.corpora.folds import Fold
    from deepfusion.evaluation.summary import summary_markdown
    from deepfusion.fusion.study import run_study
    from deepfusion.malloc import keep_freed_memory
    from deepfusion.networks import inference

    keep_freed_memory()
    torch.set_num_threads(threads)
    metrics = run_study(
        store,
        out,
        from_json(list[Fold], folds),
        settings=from_json(FusionSettings, settings),
        study=from_json(StudySettings, study),
        device=inference.device(device),
    )
    log.info("%s", summary_markdown(metrics))


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders written by `train-fbp` or `fusion-study`.", exists=True)
    ],
    store: StorePath,
    out: Out,
) -> None:
    """Write results as one HTML page (tables, conclusions, curves), and print the tables."""
    from deepfusion.report.page import read_results, write_page

    results = read_results(folders)
    write_page(results, store, out)
    print("\n\n".join(result.markdown for result in results))
    log.info("%s", out)


@app.command("prepare-fer2013")
def prepare_fer2013(
    data: Annotated[Path, typer.Option(help="fer2013.csv, icml_face_data.csv, a folder of classes, or an npz file.")],
    out: Out,
    votes: Annotated[Path | None, typer.Option(help="FER+'s fer2013new.csv.")] = None,
    threads: Threads = 1,
) -> None:
    """Read FER2013 and align the face in every image."""
    from deepfusion.fer2013.prepare import prepare

    prepare(data, out, votes=votes, threads=threads)


@app.command()
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


@app.command()
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


@app.command("prepare-speech")
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


@app.command("pretrain-audio")
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


@app.command()
def schema() -> None:
    """Print the JSON Schema of config.yaml, for editors with completion and validation."""
    import json

    from deepfusion.config import Config

    print(json.dumps(Config.model_json_schema(by_alias=True), indent=1))


@app.command("list-networks")
def list_networks() -> None:
    """List the face networks for the slots, with sources, licences and citations."""
    from deepfusion.networks.catalogue import CATALOGUE

    for network in CATALOGUE.values():
        print(f"{network.name}: {network.dimension} values, {network.output}\n    weights: {network.source}")
        print(f"    licence: {network.licence}\n    cite: {network.citation}")


@app.command("fetch-weights")
def fetch_weights(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Networks, as `deepfusion list-networks`.")],
    out: Annotated[Path, typer.Option(help="Folder for the files; the workflow reads results/weights.")],
) -> None:
    """Download published weights; read the printed terms before you use them."""
    from deepfusion.networks.catalogue import find
    from deepfusion.networks.fetch import fetch

    for card in [find(name) for name in names]:
        print(fetch(card, out))


@app.command()
def predict(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="CLIP|FOLDER|MANIFEST.csv...", help="Media files, folders or manifests.")
    ],
    model: Annotated[
        Path | None, typer.Option(help="Folder of a trained model; default: the model of the package.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; without --csv, --json, --html: all three.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write predictions.csv, and a table of frames per clip.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write predict.json.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Write predict.html, one offline page.")] = False,
    window: Annotated[float | None, typer.Option(help="Also predict windows of each clip; their length, s.")] = None,
    hop: Annotated[float | None, typer.Option(help="Step between windows, s; default: the length of a window.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to print per clip.")] = 2,
    norm: Annotated[
        Literal["none", "clip-set", "speaker"] | None, typer.Option(help="Normalisation; default: that of the model.")
    ] = None,
    landmarks: Annotated[bool, typer.Option("--landmarks", help="Add the 68 points to the tables of frames.")] = False,
    thumbnails: Annotated[bool, typer.Option(help="Thumbnails of frames in the page.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict clips again that are up to date.")] = False,
    device: Device = "auto",
    engine: EngineName = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = os.cpu_count() or 1,
) -> None:
    """Predict the emotion of each clip; status 3 if some clips have no prediction."""
    import cv2
    import torch

    from deepfusion.prediction import run
    from deepfusion.prediction.inputs import clips_of
    from deepfusion.prediction.predictor import load

    logging.getLogger("deepfusion.networks.engines").setLevel(logging.WARNING)  # what they differ by
    cv2.setNumThreads(1)
    torch.set_num_threads(1)  # of what is not a face network: too little to be shared
    clips = clips_of(inputs)
    outputs, folder = run.outputs_of(csv, as_json, html, out)
    options = run.Options(window, hop, norm, top, outputs, thumbnails, landmarks, overwrite)
    with load(model, device=device, engine=engine, threads=threads) as predictor:
        status = run.run(predictor, clips, folder, options)
    raise typer.Exit(status)


@app.command()
def repair(
    folder: Annotated[Path, typer.Argument(help="Results of a corpus, such as results/mine, or the store in it.")],
    device: Device = "auto",
    engine: EngineName = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes for face tracking.")] = 1,
) -> None:
    """Recompute the damaged and missing parts of an extraction."""
    from deepfusion.extract import repair as stage
    from deepfusion.networks import inference

    folder = folder if folder.is_dir() else folder.parent
    made = stage.repair(folder, device=inference.device(device), engine=engine, workers=workers)
    for path in made:
        print(f"made again: {path}")
    print("nothing is damaged or missing" if not made else f"{len(made)} files made again")
