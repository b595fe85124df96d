"""Commands that inspect, check or convert corpora, stores and results."""

import os
from pathlib import Path
from typing import Annotated

import typer

from deepfusion.cli.app import LOOK, app, log
from deepfusion.cli.options import AsJson, Device, EngineName, Manifest, Out, StorePath
from deepfusion.errors import UserError

# Heavy packages are imported inside the commands: `deepfusion --help` and the light stages stay quick.


def summary(store: Path, *, listed: int | None) -> str:
    """Summary of a store as text: contents, at most `listed` clips by name (None: all), and cost."""
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


@app.command(rich_help_panel=LOOK)
def corpora(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Corpora; default: all.")] = None,
) -> None:
    """List the public corpora that can be read: files, classes, options, terms, owner, citation."""
    from deepfusion.corpora.listing import described

    print(described(names or []))


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
    torch.set_num_threads(1)  # as in the workflow's jobs
    clips, extraction = read_manifest(manifest, labels=None), from_json(Extraction, config)
    where = inference.device(device)
    found = stage.preflight(clips, config=extraction, device=where, cores=cores, engine=engine)
    if (left_out := manifest.with_name("left_out.txt")).is_file() and not as_json:
        print(left_out.read_text(encoding="utf-8").strip())
    text = costs.expected(found)
    log.debug("%s", text)  # a cluster does not show its jobs' output
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
        print(_facts(store) if as_json else summary(store, listed=None))
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
    b: Annotated[Path, typer.Argument(help="The feature store to compare it with.")],
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
        str | None, typer.Option(help="Keys to write, with commas: EF-A,landmarks,spectrogram; default: all that fit.")
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
    out: Annotated[Path, typer.Option(help="The new store; the given one is not changed.")],
    shift: Annotated[float | None, typer.Option(help="Seconds between rows, if the file has no times.")] = None,
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
    slot: Annotated[str | None, typer.Option(help="Slot of the features: EF-A, ...; default: first that fits.")] = None,
    distance: Annotated[float | None, typer.Option(help="Largest mean distance in a group; default: built in.")] = None,
) -> None:
    """Group clips by face where no speaker is known: each group becomes a speaker, and every table says so."""
    from deepfusion.corpora.manifest import read_manifest, write_manifest
    from deepfusion.extract.speakers import with_speakers

    write_manifest(out, with_speakers(read_manifest(manifest, labels=None), store, slot=slot, distance=distance))


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
    out: Annotated[Path | None, typer.Option(help="HTML file; default: faces.html next to the store.")] = None,
    clips: Annotated[
        list[str] | None, typer.Option("--clips", help="Id of a clip; may be repeated; default: lowest coverage first.")
    ] = None,
    media: Annotated[
        Path | None, typer.Option(help="Folder that the store's paths start at; default: manifest.csv next to it.")
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
        print(f"recomputed: {path}")
    print("nothing is damaged or missing" if not made else f"{len(made)} files recomputed")
