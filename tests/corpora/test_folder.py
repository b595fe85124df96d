"""A folder of clips as a corpus."""

import logging
import os
import unicodedata

import pytest

from deepfusion.corpora import load, read_manifest, write_manifest
from deepfusion.errors import UserError


def media(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"media")
    return root


def folder(path, labels=None):
    return load(kind="folder", name="f", path=path, labels=labels)


def test_every_media_file_is_a_clip(tmp_path, caplog):
    names = ["b.MOV", "a/z.mp4", "a/deep/er/x.wav", "{1}.webm", ".hidden/a.mp4", "a/._z.mp4", "a b.ogg"]
    corpus = folder(media(tmp_path, *names))
    assert corpus.clips["id"].tolist() == ["a/deep/er/x", "a/z", "a b", "b", "{1}"]
    assert corpus.clips["path"].tolist()[1] == str(tmp_path / "a" / "z.mp4")
    assert corpus.labels == [] and corpus.clips[["label", "speaker"]].eq("").all(axis=None)
    assert not caplog.records
    corpus.check_files()


def test_other_files_are_passed_over_with_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        corpus = folder(media(tmp_path, "a.mp4", "notes.txt", "x/picture.png"))
    assert corpus.clips["id"].tolist() == ["a"]
    assert "2 files are skipped, their suffix is not that of a media file; the first: notes.txt" in caplog.text


def test_subfolders_are_classes(tmp_path):
    corpus = folder(media(tmp_path, "sad/1.mp4", "happy/anna/1.mp4", "happy/2.mp4"), "folders")
    assert corpus.labels == ["happy", "sad"]
    assert dict(zip(corpus.clips["id"], corpus.clips["label"], strict=True)) == {
        "happy/2": "happy",
        "happy/anna/1": "happy",
        "sad/1": "sad",
    }
    with pytest.raises(
        UserError, match=r"loose\.mp4 is in no class folder.*\(1 such file\): move it, or set labels: null"
    ):
        folder(media(tmp_path, "loose.mp4"), "folders")


def test_names_are_in_one_unicode_form_and_paths_as_they_are(tmp_path):
    name = unicodedata.normalize("NFD", "é/ü.mp4")
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).touch()
    corpus = load(kind="folder", name="f", path=tmp_path, labels="folders")
    assert corpus.clips[["id", "label"]].to_numpy().tolist() == [["é/ü", "é"]] and corpus.labels == ["é"]
    corpus.check_files()


def test_files_that_differ_in_their_suffix_alone_keep_it(tmp_path, caplog):
    names = ["a.mp4", "a.wav", "a.mp4.mkv", "b.mp4", "x/a.mp4"]
    with caplog.at_level(logging.WARNING):
        clips = folder(media(tmp_path, *names)).clips
    assert clips["id"].tolist() == ["a.mp4", "a.mp4.mkv", "a.wav", "b", "x/a"]
    assert "3 files differ only in their suffix, so their ids keep it; the first: a.mp4" in caplog.text


def test_links_make_no_loop_and_take_nobody_s_name(tmp_path):
    media(tmp_path, "z/real.mp4", "z/deep/more.mp4")
    elsewhere = media(tmp_path.parent / f"{tmp_path.name}-elsewhere", "far.mp4")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    (tmp_path / "z/up").symlink_to(tmp_path)
    (tmp_path / "z/deep/to").symlink_to(elsewhere)
    (tmp_path / "file.mp4").symlink_to(elsewhere / "far.mp4")
    assert folder(tmp_path).clips["id"].tolist() == ["file", "z/deep/more", "z/deep/to/far", "z/real"]


def test_what_is_no_file_is_skipped_with_a_warning(tmp_path, caplog):
    os.mkfifo(media(tmp_path, "a.mp4") / "pipe.mp4")
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    corpus = folder(tmp_path)
    assert corpus.clips["id"].tolist() == ["a", "gone"]
    assert "pipe.mp4 is not a regular file: it is skipped" in caplog.text and "gone" not in caplog.text
    with pytest.raises(UserError, match=r"has 1 problem:\n  clip 'gone': no file"):
        corpus.check_files()


@pytest.mark.parametrize("names", [[], ["readme.txt"], [".a.mp4"]])
def test_a_folder_without_clips_is_one_line(tmp_path, names):
    with pytest.raises(UserError, match="holds no media file") as error:
        folder(media(tmp_path, *names))
    assert "\n" not in str(error.value)


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match="nowhere: there is no such folder; it should hold clips"):
        folder(tmp_path / "nowhere")


def test_a_name_that_is_not_utf_8(tmp_path):
    (tmp_path / os.fsdecode(b"a\xff.mp4")).write_bytes(b"media")
    with pytest.raises(UserError, match=r"the file name 'a\\udcff\.mp4' has a lone surrogate.*: rename it"):
        folder(tmp_path)


def test_the_resolved_manifest_is_the_corpus(tmp_path):
    names = ["happy/1.mp4", "sad/ 2.mp4", " calm/x\\y.mp4", "C:/a.mp4", "sad/2.wav", "a,b/\n.mp4"]
    clips = folder(media(tmp_path, *names), "folders").clips
    write_manifest(tmp_path / "m.csv", clips)
    assert read_manifest(tmp_path / "m.csv", labels=None).equals(clips)
    load(kind="manifest", name="m", path=tmp_path / "m.csv").check_files()


def test_a_file_that_went_away(tmp_path):
    corpus = folder(media(tmp_path, "a.mp4", "b.mp4"))
    (tmp_path / "b.mp4").unlink()
    with pytest.raises(
        UserError, match=rf"the folder {tmp_path} \(.*\) has 1 problem:\n  clip 'b': no file '.*b\.mp4'$"
    ):
        corpus.check_files()
