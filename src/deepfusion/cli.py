"""The command line: one command per stage, which the rules of the workflow call, and commands for people."""

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

from deepfusion.atomic import machine_reason
from deepfusion.errors import MachineError, UserError

# Heavy packages are imported inside the commands: `deepfusion --help` and the light stages stay quick.

EXIT_INTERRUPTED = 130
EPILOG = (
    "Exit status: 0 done. 1 damage or a difference was found (verify, diff), the machine refused (full disk, no"
    " permission), or an internal error. 2 wrong usage or input. 3 some clips have no answer (predict). 130 interrupted"
    " by Ctrl-C: no partial file is left, and the same command resumes."
)
# Groups of commands in the help.
GROUPS = ("Predict and configure", "Inspect and report", "Stages of the workflow", "Weights")
PEOPLE, LOOK, STAGES, WEIGHTS = GROUPS

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Audio-video emotion recognition by attention-guided factorized bilinear pooling.",
    epilog=EPILOG,
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
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
StorePath = Annotated[Path, typer.Option("--store", help="A feature store.")]
Folds = Annotated[
    str, typer.Option(help="JSON: a list of {name, test, choose, by}; or loso, kfold, split, published, of the store.")
]


class Interrupted(BaseException):
    """Ctrl-C. The parser would catch KeyboardInterrupt and end with status 1."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise `Interrupted`; a moment later while HDF5 calls `store.commit.Disk`, as it cannot pass an error on."""
    while frame is not None:
        if frame.f_code.co_qualname.startswith("Disk."):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            return
        frame = frame.f_back
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends the process at once
    raise Interrupted


def main() -> None:
    """Run the command line; every foreseen error is one line, with the status that `EPILOG` documents."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)
    try:
        app()
        return
    except Interrupted:
        pass  # the frames that hold open files and progress bars end with this block
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
    log.error("interrupted: no partial file is left; the same command resumes")
    sys.exit(EXIT_INTERRUPTED)


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


def _summary(store: Path, *, listed: int | None) -> str:
    from deepfusion.report import costs
    from deepfusion.report.summary import store_summary
    from deepfusion.store import FeatureStore

    with FeatureStore(store) as opened:
        return f"{store_summary(opened, listed=listed)}\n{costs.table(opened.ledger)}"


def _facts(store: Path) -> str:
    import json

    from deepfusion.costs import records
    from deepfusion.report.summary import store_facts
    from deepfusion.store import FeatureStore

    with FeatureStore(store) as opened:
        return json.dumps(store_facts(opened) | {"cost": records(opened.ledger)})


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


@app.command(rich_help_panel=LOOK)
def corpora(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Corpora; else all.")] = None,
) -> None:
    """List the public corpora that can be read: files, classes, options, terms, owner, citation."""
    from deepfusion.corpora.listing import described

    print(described(names or []))


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

    cv2.setNumThreads(1)  # cores are for other shards
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
    rate: Annotated[
        float | None, typer.Option(help="Frames per second that the networks see; all if left out.")
    ] = None,
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
    log.info("%s\n%s", out, _summary(out, listed=20))


@app.command(rich_help_panel=LOOK)
def preflight(
    manifest: Manifest,
    config: Annotated[str, typer.Option(help="The configuration as JSON; default: the defaults.")] = "{}",
    device: Device = "auto",
    engine: EngineName = "auto",
    cores: Annotated[int, typer.Option(help="CPU cores that the extraction will have.", min=1)] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """Estimate frames, disk space and time per stage of an extraction, by a trial on a few clips."""
    import json

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
    if (left_out := manifest.with_name("left_out.txt")).is_file() and not as_json:
        print(left_out.read_text(encoding="utf-8").strip())
    text = costs.expected(found)
    log.debug("%s", text)  # a cluster shows nothing of what its jobs print
    print(json.dumps(costs.expected_data(found)) if as_json else text)


@app.command(rich_help_panel=LOOK)
def info(
    store: Annotated[Path | None, typer.Argument(help="A feature store.")] = None,
    system: Annotated[
        bool, typer.Option("--system", help="Instead: versions, machine and weights, for a bug report.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Summarise a feature store: its contents, clips without faces or audio, failures and reasons, and the cost."""
    if system == (store is not None):
        raise UserError("give either a feature store or --system")
    if store is not None:
        print(_facts(store) if as_json else _summary(store, listed=None))
        return
    import json

    from deepfusion import doctor

    found = doctor.system()
    print(json.dumps(found) if as_json else doctor.system_lines(found))


@app.command(rich_help_panel=LOOK)
def doctor(as_json: AsJson = False) -> None:
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


@app.command(rich_help_panel=LOOK)
def verify(
    paths: Annotated[list[Path], typer.Argument(help="Stores, shards, or folders that contain them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file.")] = False,
) -> None:
    """Check stores and shards for damage and list the affected datasets and clips; status 1 if there is any."""
    import dataclasses
    import json

    from deepfusion.progress import track
    from deepfusion.store.verify import find_files, lines
    from deepfusion.store.verify import verify as check

    files = list(dict.fromkeys(file for path in paths for file in find_files(path)))
    intact = True
    for found in (found for file in track(files, "verify", unit="files") for found in check([file])):
        intact = intact and not found.problems
        print(json.dumps(dataclasses.asdict(found), default=str) if as_json else lines(found), flush=True)
    if not intact:
        raise typer.Exit(1)


@app.command(rich_help_panel=LOOK)
def diff(
    a: Annotated[Path, typer.Argument(help="A feature store.")],
    b: Annotated[Path, typer.Argument(help="The feature store that it is compared with.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with all clips.")] = False,
) -> None:
    """Compare two feature stores: what differs, and by how much; status 1 if anything does."""
    import json
    from functools import partial

    from deepfusion.progress import track
    from deepfusion.store.diff import diff as compare
    from deepfusion.store.diff import lines

    found = compare(a, b, over=partial(track, what="diff", unit="clips"))
    print(json.dumps(found) if as_json else "\n".join(lines(found)))
    if not found["equal"]:
        raise typer.Exit(1)


@app.command(rich_help_panel=LOOK)
def export(
    store: Annotated[Path, typer.Argument(help="A feature store.")],
    to: Annotated[str, typer.Option(help="csv, openface, pyfeat, parquet, npz, mmsa, csd, lhotse or hf.")],
    out: Annotated[Path, typer.Option(help="Folder of the files.")],
    keys: Annotated[
        str | None, typer.Option(help="What to write, with commas: EF-A,landmarks,spectrogram; else what fits.")
    ] = None,
) -> None:
    """Write a feature store in the format of another tool."""
    from deepfusion.exchange import export as write

    write(store, to, out, keys=keys.split(",") if keys else None)


@app.command("import", rich_help_panel=LOOK)
def import_features(
    store: Annotated[Path, typer.Argument(help="A feature store.")],
    file: Annotated[Path, typer.Argument(help="A .csd file, or a folder of <id>.npy or <id>.npz.")],
    name: Annotated[str, typer.Option(help="EF-NAME for features of the video, AX-NAME for those of the audio.")],
    out: Annotated[Path, typer.Option(help="The new store; the given one stays as it is.")],
    shift: Annotated[float | None, typer.Option(help="s from row to row, where the file has no times.")] = None,
    licence: Annotated[str, typer.Option(help="Terms of the features, kept in the store.")] = "",
    citation: Annotated[str, typer.Option(help="What to cite, kept in the store.")] = "",
) -> None:
    """Add features of another tool to a copy of a feature store; train-fbp uses them like its own."""
    from deepfusion.exchange.importing import add_stream

    add_stream(store, file, out, name=name, shift=shift, about={"licence": licence, "citation": citation})


@app.command("cluster-speakers", rich_help_panel=LOOK)
def cluster_speakers(
    store: Annotated[Path, typer.Argument(help="A feature store with a network that was not fine-tuned.")],
    manifest: Annotated[Path, typer.Option(help="The resolved manifest of the same clips.")],
    out: Annotated[Path, typer.Option(help="Manifest to write: the same, with a speaker for each clip.")],
    slot: Annotated[str | None, typer.Option(help="Whose features: EF-A, ...; else the first that fits.")] = None,
    distance: Annotated[float | None, typer.Option(help="Largest mean distance in a group; else the default.")] = None,
) -> None:
    """Group clips by face where no speaker is known: each group becomes a speaker, and every table then says so."""
    from deepfusion.corpora.manifest import read_manifest, write_manifest
    from deepfusion.extract.speakers import with_speakers

    write_manifest(out, with_speakers(read_manifest(manifest, labels=None), store, slot=slot, distance=distance))


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


@app.command(rich_help_panel=LOOK)
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


@app.command("faces-report", rich_help_panel=LOOK)
def faces_report(
    store: Annotated[Path, typer.Argument(help="A feature store.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; else faces.html next to the store.")] = None,
    clips: Annotated[
        list[str] | None, typer.Option("--clips", help="Id of a clip, once for each; else the lowest coverage first.")
    ] = None,
    media: Annotated[
        Path | None, typer.Option(help="Folder that the store's paths start at; else manifest.csv next to the store.")
    ] = None,
    blur: Annotated[bool, typer.Option("--blur", help="Make the faces unrecognisable.")] = False,
    images: Annotated[bool, typer.Option(help="Show faces.")] = True,
) -> None:
    """Write a contact sheet of the followed faces: when the person was lost, and why."""
    import cv2

    from deepfusion.report.faces_page import PAGE_NAME, write_page

    cv2.setNumThreads(1)
    out = out or store.parent / PAGE_NAME
    shown = write_page(store, out, clips=clips or (), media=media, images=images, blur=blur)
    log.info("%s: %d clips", out, shown)


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


@app.command(rich_help_panel=PEOPLE)
def schema() -> None:
    """Print the JSON Schema of config.yaml, for editors with completion and validation."""
    import json

    from deepfusion.config import Config

    print(json.dumps(Config.model_json_schema(by_alias=True), indent=1))


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


@app.command(rich_help_panel=PEOPLE)
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


@app.command(rich_help_panel=LOOK)
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


app.registered_commands.sort(key=lambda command: GROUPS.index(command.rich_help_panel))  # the order of the help
