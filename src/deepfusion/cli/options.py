"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

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
    Literal["auto", "eager", "onnxruntime"], typer.Option("--engine", help="How the networks are computed.")
]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
StorePath = Annotated[Path, typer.Option("--store", help="A feature store.")]
Folds = Annotated[
    str, typer.Option(help="JSON: a list of {name, test, choose, by}; or loso, kfold, split, published, of the store.")
]
