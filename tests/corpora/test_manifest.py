"""The manifest: good ones are read as they are, bad ones are told all their faults at once."""

import re

import numpy as np
import pandas as pd
import pytest

from deepfusion.corpora import read_manifest, sha256, write_manifest
from deepfusion.errors import UserError

LABELS = ["happy", "sad", "surprise"]


@pytest.fixture
def write(tmp_path):
    """A function that writes a manifest, beside the files a.mp4, b.mp4, "c d.mp4", sub/é.mkv."""
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "b.mp4", "c d.mp4", "sub/é.mkv"):
        (tmp_path / name).write_bytes(b"media")

    def write(text, encoding="utf-8"):
        (tmp_path / "clips.csv").write_text(text, encoding=encoding, newline="")
        return tmp_path / "clips.csv"

    return write


def problems(path, labels=LABELS):
    """The problems found: line -> what is said about it."""
    with pytest.raises(UserError) as error:
        read_manifest(path, labels=labels)
    first, *lines = str(error.value).splitlines()
    assert first.startswith(f"{path} has {len(lines)} problem")
    found = {}
    for line in lines:
        number, text = re.fullmatch(r"  line (\d+): (.+)", line).groups()
        found[int(number)] = found.get(int(number), "") + text
    return found


def test_short_form(write, tmp_path):
    clips = read_manifest(write("path,label,speaker\na.mp4,sad,01\nsub/é.mkv,happy,1\n"), labels=LABELS)
    assert clips.columns.tolist() == ["id", "path", "label", "speaker", "split", "start", "end"]
    assert clips.index.tolist() == [0, 1] and clips["id"].tolist() == ["a", "sub/é"]
    assert clips["path"].tolist() == [str(tmp_path / "a.mp4"), str(tmp_path / "sub" / "é.mkv")]
    assert clips["speaker"].tolist() == ["01", "1"]  # text, not numbers
    assert clips["split"].tolist() == ["", ""] and clips[["start", "end"]].isna().all(axis=None)
    assert clips["start"].dtype == clips["end"].dtype == np.float64


def test_long_form_with_quoting_blanks_and_foreign_columns(write):
    text = (
        "speaker,start,note,path,end,label,id,split\r\n"
        '7,0.5,"said ""hm"", twice", c d.mp4 ,1.25,sad,one,train\r\n'
        "\r\n  \r\n,,,,,,,\r\n"
        "007,,,c d.mp4,0.5,happy,two,\r\n"
    )
    clips = read_manifest(write(text), labels=LABELS)
    assert clips["id"].tolist() == ["one", "two"] and clips["speaker"].tolist() == ["7", "007"]
    np.testing.assert_array_equal(clips[["start", "end"]], [[0.5, 1.25], [np.nan, 0.5]])
    assert clips["note"].tolist() == ['said "hm", twice', ""] and clips["split"].tolist() == ["train", ""]


def test_mark_of_a_spreadsheet_at_the_start(write):
    path = write("path,label,speaker\na.mp4,sad,ü\n", encoding="utf-8-sig")
    assert read_manifest(path, labels=LABELS)["speaker"].tolist() == ["ü"]


def test_any_label_goes_without_a_list(write):
    assert read_manifest(write("path,label,speaker\na.mp4,whatever,x\n"), labels=None)["label"].tolist() == ["whatever"]


def test_absolute_path(write, tmp_path):
    clips = read_manifest(write(f"path,label,speaker,id\n{tmp_path}/a.mp4,sad,x,one\n"), labels=LABELS)
    assert clips["path"].tolist() == [str(tmp_path / "a.mp4")]


def test_all_problems_at_once_with_their_lines(write):
    text = (
        "path,label,speaker,id,start,end\n"
        "a.mp4,sad,x,one,,\n"
        "gone.mp4,sad,x,two,,\n"
        "b.mp4,hapy,x,three,,\n"
        "\n"
        '"c d.mp4",sad,"multi\nline",one,,\n'
        "b.mp4,,,four,,\n"
        "b.mp4,sad,x,five,2,1\n"
        "b.mp4,sad,x,six,a,1\n"
        "b.mp4,sad,x,seven,-1,nan\n"
        "b.mp4,sad,x,eight,,0\n"
        "b.mp4,sad\n"
        "b.mp4,sad,x,nine,1,2,3\n"
        ",sad,x,ten,,\n"
        "b.mp4,zzz,x,eleven,inf,\n"
    )
    found = problems(write(text))
    assert list(found) == [3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    assert "no file 'gone.mp4'" in found[3] and "did you mean 'happy'" in found[4]
    assert "id 'one' is in line 2 already" in found[6]
    assert "label is empty" in found[8] and "speaker is empty" in found[8]
    assert "start 2 s is not before end 1 s" in found[9] and "start 'a' is not a number" in found[10]
    assert "start '-1'" in found[11] and "end 'nan'" in found[11]
    assert "start 0 s is not before end 0 s" in found[12]
    assert "2 cells where the header has 6" in found[13] and "7 cells" in found[14]
    assert "path is empty" in found[15] and "the classes are happy, sad, surprise" in found[16] and "'inf'" in found[16]


def test_same_file_twice_without_ids(write):
    assert "id 'a' is in line 2 already" in problems(write("path,label,speaker\na.mp4,sad,x\na.mp4,sad,x\n"))[3]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("path,label,speeker", "column 'speeker': did you mean 'speaker'?"),
        ("Path,label,speaker", "column 'Path': did you mean 'path'?"),
        ("path,label,speaker,stat", "column 'stat': did you mean 'start'?"),
        ("path,emotion,speaker", "column 'label' is missing; there are path, emotion, speaker"),
        ("path,label,speaker,label", "column 'label' is there twice"),
        ("path,label,speaker,", "a column has no name"),
        ("path;label;speaker", "not parted by commas"),
        ("path\tlabel\tspeaker", "not parted by commas"),
    ],
)
def test_header(write, header, said):
    assert said in problems(write(f"{header}\na.mp4,sad,x\n"))[1]


def test_column_like_a_known_one_that_is_there_is_the_users_own(write):
    clips = read_manifest(write("path,label,speaker,labels\na.mp4,sad,x,9\n"), labels=LABELS)
    assert clips["labels"].tolist() == ["9"]


@pytest.mark.parametrize("text", ["", "\n\n", "path,label,speaker\n", "path,label,speaker\n\n"])
def test_nothing_in_it(write, text):
    assert problems(write(text))


def test_long_list_is_cut_and_counted(write):
    with pytest.raises(UserError, match=r"has 55 problems:") as error:
        read_manifest(
            write("path,label,speaker,id\n" + "".join(f"x{i}.mp4,sad,x,{i}\n" for i in range(55))), labels=LABELS
        )
    lines = str(error.value).splitlines()
    assert len(lines) == 22 and lines[-1].strip() == "... and 35 more" and "line 21:" in lines[-2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label,speaker\na.mp4,sad,ü\n".encode("latin-1"), "not UTF-8"),
        ("path,label,speaker\na.mp4,sad,x\n".encode("utf-16"), "not UTF-8"),
        (b'path,label,speaker\na.mp4,sad,x\n"b.mp4,sad,x\n', "line 3: .*quotation mark"),
    ],
)
def test_unreadable_text(tmp_path, content, said):
    (tmp_path / "clips.csv").write_bytes(content)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match=said):
        read_manifest(tmp_path / "clips.csv", labels=LABELS)


def test_no_such_manifest(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.csv cannot be read: No such file"):
        read_manifest(tmp_path / "nothing.csv", labels=LABELS)


def test_written_manifest_reads_back_the_same(write, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-outside.mp4"
    outside.write_bytes(b"media")
    text = (
        'path,label,speaker,id,start,end,split,note\na.mp4,sad,01,"x, ""y""",0.1,0.30000000000000004,dev,NA\n'
        f"c d.mp4,happy,null,ü,,,,\n{outside},sad,1e3,z,,1,,3.0\n"
    )
    clips = read_manifest(write(text), labels=LABELS)
    write_manifest(tmp_path / "again.csv", clips)
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "again.csv", labels=LABELS), clips)
    lines = (tmp_path / "again.csv").read_text().splitlines()
    assert ",a.mp4," in lines[1] and f",{outside}," in lines[3]
    write_manifest(tmp_path / "elsewhere" / "deep.csv", clips)
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "elsewhere" / "deep.csv", labels=LABELS), clips)


def test_relative_manifest_moves_with_its_folder(write, tmp_path):
    clips = read_manifest(write("path,label,speaker\na.mp4,sad,x\n"), labels=LABELS)
    write_manifest(tmp_path / "again.csv", clips)
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    assert read_manifest(moved / "again.csv", labels=LABELS)["path"].tolist() == [str(moved / "a.mp4")]


def test_symbolic_links_keep_their_names(write, tmp_path):
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    clips = read_manifest(write("path,label,speaker\nlink.mp4,sad,x\n"), labels=LABELS)
    assert clips["path"].tolist() == [str(tmp_path / "link.mp4")]


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")  # the example of FIPS 180-2
    assert sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_id_of_an_absolute_path_is_the_files_name(tmp_path):
    (tmp_path / "a.b.mp4").touch()
    (tmp_path / "m.csv").write_text(f"path,label,speaker\n{tmp_path}/a.b.mp4,sad,anna\n")
    assert read_manifest(tmp_path / "m.csv", labels=None)["id"].tolist() == ["a.b"]


def test_a_job_reads_its_own_rows_alone(write):
    text = "path,label,speaker\na.mp4,sad,x\n\nb.mp4,happy,y\nsub/é.mkv,sad,z\ngone.mp4,sad,z\n"
    path = write(text)
    clips = read_manifest(path, labels=None, rows=(1, 3))
    assert clips["id"].tolist() == ["b", "sub/é"]
    assert clips.index.tolist() == [0, 1]
    whole = read_manifest(write(text.replace("gone", "c d")), labels=None)
    assert clips.equals(whole.iloc[1:3].reset_index(drop=True))
    with pytest.raises(UserError, match=r"line 6: no file 'gone\.mp4'"):
        read_manifest(write(text), labels=None, rows=(3, 4))
    with pytest.raises(UserError, match=r"rows 2:9 were asked for: .*clips\.csv has 4 rows"):
        read_manifest(write(text.replace("gone", "c d")), labels=None, rows=(2, 9))
