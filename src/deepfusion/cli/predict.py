"""Commands to predict and to configure."""

import logging
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from deepfusion.cli.app import PEOPLE, app
from deepfusion.cli.options import Device, EngineName

# Heavy packages are imported inside the commands: `deepfusion --help` and the light stages stay quick.


@app.command(rich_help_panel=PEOPLE)
def schema() -> None:
    """Print the JSON Schema of config.yaml, for editors with completion and validation."""
    import json

    from deepfusion.config import Config

    print(json.dumps(Config.model_json_schema(by_alias=True), indent=1))


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

    logging.getLogger("deepfusion.networks.engines").setLevel(logging.WARNING)  # hides the engines' deviations
    cv2.setNumThreads(1)
    torch.set_num_threads(1)  # for all but the face networks: too small to parallelise
    clips = clips_of(inputs)
    outputs, folder = run.outputs_of(csv, as_json, html, out)
    options = run.Options(window, hop, norm, top, outputs, thumbnails, landmarks, overwrite)
    with load(model, device=device, engine=engine, threads=threads) as predictor:
        status = run.run(predictor, clips, folder, options)
    raise typer.Exit(status)
