"""The manifest of emotional speech: one row per clip, with its corpus, speaker, label, language and licence."""

import logging
from pathlib import Path

import pandas as pd

from deepfusion.config import PretrainAudioSettings
from deepfusion.errors import UserError

log = logging.getLogger(__name__)

COLUMNS = ("path", "corpus", "speaker", "label", "language", "licence")


def read(path: Path, settings: PretrainAudioSettings) -> pd.DataFrame:
    """Read the manifest; keep clips with a known label of the corpora to train on, and all clips of the unseen corpora.

    Args:
        path: A csv with the columns `COLUMNS`; others are ignored. A relative `path` in it starts at the csv's folder.
        settings: `corpora` and `unseen` are kept; `labels` is the common label set, `merged` renames others.

    Returns:
        COLUMNS, all text; `path` absolute. One row per clip, in the order of the file.

    Raises:
        UserError: The file is missing or unreadable, lacks a column, has an empty cell, lists a file twice, names a
            file that does not exist, or has no clip of one of the corpora.
    """
    if not path.is_file():
        raise UserError(f"pretrain_audio.manifest: there is no file {path}")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a csv file: {error}") from error
    if missing := [name for name in COLUMNS if name not in table]:
        raise UserError(f"{path}: column {missing[0]!r} is missing; it has {', '.join(table)}")
    table = table[list(COLUMNS)]
    for name in COLUMNS:
        if (empty := table[name].str.strip() == "").any():
            raise UserError(f"{path}:{empty.idxmax() + 2}: column {name!r} is empty")
    if (twice := table["path"].duplicated()).any():
        raise UserError(f"{path}:{twice.idxmax() + 2}: {table['path'][twice.idxmax()]} is listed twice")
    for corpus in (*settings.corpora, *settings.unseen):
        if not (table["corpus"] == corpus).any():
            raise UserError(f"{path}: no clip of corpus {corpus!r}; it has {', '.join(table['corpus'].unique())}")
    table = table[table["corpus"].isin([*settings.corpora, *settings.unseen])]
    table = table.assign(label=table["label"].replace(settings.merged))
    known = table["label"].isin(settings.labels) | table["corpus"].isin(settings.unseen)
    for (corpus, label), count in table[~known].groupby(["corpus", "label"]).size().items():
        log.info("%s: %d clips are left out, label %s is not in pretrain_audio.labels", corpus, count, label)
    table = table[known]
    table = table.assign(path=[str(path.parent.absolute() / name) for name in table["path"]])
    absent = [name for name in table["path"] if not Path(name).is_file()]
    if absent:
        raise UserError(f"{path}: {len(absent)} of {len(table)} files do not exist, such as {absent[0]}")
    return table.reset_index(drop=True)
