"""Properties that hold for any manifest and any division: written down once, tried on generated cases."""

import csv
import io
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from deepfusion.corpora import folds, guard, load, read_manifest, write_manifest
from deepfusion.corpora.columns import COLUMNS, RESERVED, composed, person, unfit
from deepfusion.corpora.folds import by_published
from deepfusion.errors import UserError

FOLDER_STAYS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
HEADERS = st.lists(st.sampled_from([*COLUMNS, "Path", "note", "", "frames", "a/b"]) | st.text(max_size=6), max_size=8)
CELLS = st.sampled_from(["", "a.mp4", "b\\c.mp4", "1", "2.5", "nan", "left", "0 0 1 1", "/x/y.wav"]) | st.text(
    max_size=8
)


def check_table(table, folder):
    """What every table that `read_manifest` returns must be."""
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS and not RESERVED & set(table.columns)
    assert table.index.tolist() == list(range(len(table))) and len(table)
    assert table["id"].is_unique and table["id"].ne("").all()
    assert all(path.startswith("/") for path in table["path"]) and all(not a or a[0] == "/" for a in table["audio"])
    start, end = table["start"].to_numpy(), table["end"].to_numpy()
    assert start.dtype == end.dtype == np.float64 and not (np.nan_to_num(start) >= end).any()
    for column in table.columns.difference(["start", "end"]):
        assert not unfit(column)
        for text in table[column]:
            assert isinstance(text, str) and text == text.strip() and not unfit(text)
    for text in table["person"]:
        assert person(text) == text or len(person(text)) == 4
    write_manifest(folder / "again.csv", table)
    pd.testing.assert_frame_equal(read_manifest(folder / "again.csv", labels=None), table)


def read(folder, content):
    (folder / "m.csv").write_bytes(content)
    try:
        table = read_manifest(folder / "m.csv", labels=None)
    except UserError as error:
        assert str(error)
        return
    check_table(table, folder)


@FOLDER_STAYS
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"path,{text}".encode(errors="surrogatepass")))
@example(b"path\n\0.mp4\n")
@example(b"path\n..\n")
@example(b'path\n"a\r.mp4"\n')
@example(b"path,id\n\xef\xbb\xbf.mp4,\n")
def test_any_bytes_are_a_table_or_one_message(tmp_path, content):
    read(tmp_path, content)


@FOLDER_STAYS
@given(HEADERS, st.data())
def test_any_csv_is_a_table_or_one_message(tmp_path, header, data):
    rows = data.draw(st.lists(st.lists(CELLS, min_size=len(header), max_size=len(header)), max_size=6))
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    read(tmp_path, text.getvalue().encode(errors="surrogatepass"))


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


@FOLDER_STAYS
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=6), st.data())
def test_what_is_written_is_read_back(tmp_path, paths, data):
    """A table of an adapter, whatever its files are called."""
    files = ["/".join([*folders[:-1], f"{folders[-1]}.mp4"]) for folders in paths]
    assume(not any(part in (".", "..") for file in files for part in file.split("/")))
    text = NAMES.map(lambda name: composed(name.strip()))
    table = pd.DataFrame({name: data.draw(st.lists(text, min_size=len(files), max_size=len(files)))
                          for name in ("label", "speaker", "split", "fold")})  # fmt: skip
    table["id"] = [f"{i}" for i in range(len(files))]
    table["path"] = [str(tmp_path / file) for file in files]
    table["audio"] = [str(tmp_path / file) if i % 2 else "" for i, file in enumerate(files)]
    table["start"], table["end"], table["person"] = 0.1, np.nan, "left"
    table = table[list(COLUMNS)]
    write_manifest(tmp_path / "m.csv", table)
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "m.csv", labels=None), table)


SPEAKERS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3), min_size=2, max_size=40)


def corpus_of(speakers):
    n = len(speakers)
    ids, hashes = [f"c{i}" for i in range(n)], [f"{i:064x}" for i in range(n)]
    return pd.DataFrame({"id": ids, "speaker": speakers, "sha256": hashes, "start": np.nan, "end": np.nan})


@given(SPEAKERS, st.sampled_from(["loso", "kfold"]), st.integers(2, 8), st.integers(0, 9))
def test_every_speaker_is_tested_once_by_who_never_saw_them(speakers, protocol, k, seed):
    different = len(set(speakers))
    if different < 2 or (protocol == "kfold" and k > different):
        with pytest.raises(UserError):
            folds(speakers, protocol=protocol, k=k, seed=seed)
        return
    made = folds(speakers, protocol=protocol, k=k, seed=seed)
    tested = list(itertools.chain.from_iterable(fold.test for fold in made))
    assert sorted(tested) == sorted(set(speakers))
    clips = corpus_of(speakers)
    for fold in made:
        inside = clips["speaker"].isin(fold.test)
        assert inside.any() and not inside.all()
        guard(clips, train=clips["id"][~inside], test=clips["id"][inside])


@given(SPEAKERS, st.data())
def test_published_folds_test_every_clip_once_or_share_a_speaker(speakers, data):
    clips = corpus_of(speakers)
    clips["fold"] = data.draw(
        st.lists(st.sampled_from(["1", "2", "10", "x"]), min_size=len(clips), max_size=len(clips))
    )
    shared = clips.groupby("speaker")["fold"].nunique().max() > 1
    if shared or clips["fold"].nunique() < 2:
        with pytest.raises(UserError):
            by_published(clips)
        return
    made = by_published(clips)
    assert sorted(value for fold in made for value in fold.test) == sorted(set(clips["fold"]))
    for fold in made:
        inside = clips["fold"].isin(fold.test)
        guard(clips, train=clips["id"][~inside], test=clips["id"][inside])


@given(SPEAKERS, st.data())
def test_the_guard_lets_nothing_through(speakers, data):
    """Any division of the clips passes exactly if no clip, speaker or file is on both sides."""
    clips = corpus_of(speakers)
    clips["sha256"] = [f"{i:064x}" for i in data.draw(st.lists(st.integers(0, 99), min_size=len(clips),
                                                               max_size=len(clips)))]  # fmt: skip
    sides = data.draw(st.lists(st.sampled_from(["train", "test", "both"]), min_size=len(clips), max_size=len(clips)))
    train, test = (clips[[side in (name, "both") for side in sides]] for name in ("train", "test"))
    leaks = any(set(train[column]) & set(test[column]) for column in ("id", "speaker", "sha256"))
    if leaks:
        with pytest.raises(UserError):
            guard(clips, train=train["id"], test=test["id"])
    else:
        guard(clips, train=train["id"], test=test["id"])


@FOLDER_STAYS
@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), min_size=1, max_size=8), st.booleans())
def test_any_folder_is_a_corpus_that_can_be_written(tmp_path_factory, names, twice):
    root = tmp_path_factory.mktemp("folder")
    made = 0
    for name in names:
        for suffix in (".mp4", ".wav")[: 1 + twice]:
            file = root / f"{name}{suffix}"
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
                made += 1
            except OSError:  # a file where another name wants a folder, or a name that is too long
                pass
    try:
        clips = load(kind="folder", name="f", path=root).clips
    except UserError as error:
        assert "no media file" in str(error) or "ids must be unique" in str(error)
        return
    assert clips["id"].is_unique and len(clips) <= made
    write_manifest(root / "m.csv", clips)
    pd.testing.assert_frame_equal(read_manifest(root / "m.csv", labels=None), clips)
