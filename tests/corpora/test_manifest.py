"""The manifest: good ones are read as they are, bad ones are told all their faults at once."""

import re
import unicodedata

import numpy as np
import pandas as pd
import pytest

from deepfusion.cache_key import file_sha256
from deepfusion.corpora import load, read_manifest, write_manifest
from deepfusion.corpora.columns import COLUMNS, RESERVED, person
from deepfusion.errors import UserError
from deepfusion.store.build import CLIPS

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
    assert tuple(clips.columns) == COLUMNS
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
        ".,sad,x,two,,\n"
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
    assert list(found) == [3, 4, 6, 9, 10, 11, 12, 13, 14, 15, 16]
    assert "path '.' names a folder" in found[3] and "did you mean 'happy'" in found[4]
    assert "id 'one' is in line 2 already" in found[6]
    assert "start 2 s is not before end 1 s" in found[9] and "start 'a' is not a number" in found[10]
    assert "start '-1'" in found[11] and "end 'nan'" in found[11]
    assert "start 0 s is not before end 0 s" in found[12]
    assert "2 cells where the header has 6" in found[13] and "7 cells" in found[14]
    assert "path is empty" in found[15] and "the classes are happy, sad, surprise" in found[16] and "'inf'" in found[16]


def test_names_are_one_name_in_either_unicode_form(write, tmp_path):
    names = "id,label,speaker,split,fold,note"
    one, other = (unicodedata.normalize(form, "a.mp4,é1,é,é,é,é,é\n") for form in ("NFC", "NFD"))
    clips = read_manifest(write(f"path,{names}\n{one}{other.replace('1', '2')}"), labels=["é"])
    assert clips[["label", "speaker", "split", "fold"]].eq("é").all(axis=None)
    assert clips["id"].tolist() == ["é1", "é2"] and clips["note"].nunique() == 2
    assert "id 'é1' is in line 2 already" in problems(write(f"path,{names}\n{one}{other}"), labels=None)[3]
    (tmp_path / unicodedata.normalize("NFD", "sub/ü.mp4")).write_bytes(b"media")
    corpus = load(kind="manifest", name="m", path=write("path,label\nsub/ü.mp4,é\n"), labels=["e\u0301"])
    assert corpus.labels == ["é"]
    with pytest.raises(UserError, match=r"no file 'sub/ü\.mp4'; its name on disk .* has another Unicode form"):
        corpus.check_files()


def test_same_file_twice_without_ids(write):
    assert "id 'a' is in line 2 already" in problems(write("path,label,speaker\na.mp4,sad,x\na.mp4,sad,x\n"))[3]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("path,label,speeker", "column 'speeker': did you mean 'speaker'?"),
        ("path,Label,label", "column 'label' occurs twice"),
        ("path,label,speaker,stat", "column 'stat': did you mean 'start'?"),
        ("file,label,speaker", "column 'path' is missing; there are file, label, speaker"),
        ("path,spilt,a", "column 'spilt': did you mean 'split'?"),
        ("path,a/b,c", "column 'a/b' cannot be kept in HDF5 under this name"),
        ("path,.,c", "column '.' cannot be kept in HDF5"),
        ("path,..,c", "column '..' cannot be kept in HDF5"),
        ("path,a\0b,c", r"column 'a\x00b' has a NUL character"),
        ("path,frames,c", "column 'frames' is written by the feature store"),
        ("path,video_status,c", "column 'video_status' is written by the feature store"),
        ("path,sha256,c", "column 'sha256' is written by the feature store"),
        ("path,label,speaker,label", "column 'label' occurs twice"),
        ("path,label,speaker,", "a column has no name"),
        ("path;label;speaker", "not separated by commas"),
        ("path\tlabel\tspeaker", "not separated by commas"),
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
            write("path,label,speaker,id\n" + "".join(f"x{i}.mp4,bad,x,{i}\n" for i in range(55))), labels=LABELS
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
        "path,label,speaker,id,start,end,split,note,audio,person,fold\n"
        'a.mp4,sad,01,"x, ""y""",0.1,0.30000000000000004,dev,NA,c d.mp4,left,1\n'
        f'c d.mp4,happy,null,ü,,,,"a\rb",,0 0 9 9,2\n{outside},sad,1e3,z,,1,,3.0,{outside},,\n./C:/a\\b,,,,,,,,,,\n'
    )
    clips = read_manifest(write(text), labels=LABELS)
    write_manifest(tmp_path / "again.csv", clips)
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "again.csv", labels=LABELS), clips)
    written = (tmp_path / "again.csv").read_text()
    assert ',"a.mp4",' in written and ',"c d.mp4","left",' in written and f',"{outside}",' in written
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
    assert file_sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_id_of_an_absolute_path_is_the_files_name(tmp_path):
    (tmp_path / "a.b.mp4").touch()
    (tmp_path / "m.csv").write_text(f"path,label,speaker\n{tmp_path}/a.b.mp4,sad,anna\n")
    assert read_manifest(tmp_path / "m.csv", labels=None)["id"].tolist() == ["a.b"]


def test_a_path_is_enough(write, tmp_path):
    clips = read_manifest(write("path\na.mp4\n{1}.mp4\n"), labels=LABELS)
    assert clips["id"].tolist() == ["a", "{1}"]
    assert clips[["label", "speaker", "split", "fold", "audio", "person"]].eq("").all(axis=None)


def test_known_columns_in_any_case(write):
    clips = read_manifest(write("PATH, Label ,Speaker,Take\na.mp4,sad,x,1\n"), labels=LABELS)
    assert (*COLUMNS, "Take") == tuple(clips.columns)
    assert clips.loc[0, ["label", "speaker", "Take"]].tolist() == ["sad", "x", "1"]


def test_names_that_are_only_near_a_known_one_are_the_users_own(write):
    clips = read_manifest(write("path,folder,person_id,gold\na.mp4,x,y,z\n"), labels=None)
    assert tuple(clips.columns) == (*COLUMNS, "folder", "person_id", "gold")


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_the_index_of_a_pandas_table_is_dropped(write, name):
    path = write(f"{name},path\n0,a.mp4\n1,b.mp4\n2,c d.mp4\n")
    assert tuple(read_manifest(path, labels=None).columns) == COLUMNS
    assert read_manifest(path, labels=None)["id"].tolist() == ["a", "b", "c d"]
    found = problems(write(f"{name},path\n0,a.mp4\n2,b.mp4\n5,c d.mp4\n"))
    assert list(found) == [3] and "the first column has no name, and '2' is no index" in found[3]


def test_windows_paths(write, tmp_path):
    clips = read_manifest(write("path,audio\nsub\\é.mkv,sub\\x.wav\n./a\\b.mp4,\n"), labels=None)
    assert clips["path"].tolist() == [str(tmp_path / "sub" / "é.mkv"), str(tmp_path / "a\\b.mp4")]
    assert clips["id"].tolist() == ["sub/é", "a\\b"] and clips["audio"][0] == str(tmp_path / "sub" / "x.wav")
    found = problems(write("path,audio\nC:\\clips\\a.mp4,\nd:/a.mp4,\n\\\\nas\\a.mp4,\na.mp4,C:\\a.wav\n"))
    assert list(found) == [2, 3, 4, 5]
    assert all("is on a Windows drive, which this system does not have" in said for said in found.values())


def test_text_that_hdf5_cannot_hold(write):
    found = problems(write("path,label,speaker,note\na\0.mp4,sad,x,\nb.mp4,sad,x,n\0\n"))
    assert list(found) == [2, 3] and all("has a NUL character" in said for said in found.values())


@pytest.mark.parametrize(
    ("cell", "kept", "meant"),
    [
        ("", "", ""),
        ("Largest", "largest", "largest"),
        ("left", "left", "left"),
        (" 40  20.5 200 180 ", "40 20.5 200 180", (40.0, 20.5, 200.0, 180.0)),
    ],
)
def test_whom_to_follow(write, cell, kept, meant):
    (found,) = read_manifest(write(f"path,person\na.mp4,{cell}\n"), labels=None)["person"]
    assert found == kept and person(found) == meant


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("middle", "write largest, left, right, left-half, right-half, or a box"),
        ("1 2 3", "write largest, left, right, left-half, right-half, or a box"),
        ("10 20 10 40", "the box has no area"),
        ("0 0 nan 5", "the box has no area"),
        ("0 0 inf 5", "the box has no area"),
    ],
)
def test_nobody_to_follow(write, cell, said):
    assert said in problems(write(f"path,person\na.mp4,{cell}\n"))[2]


def test_missing_files_are_named_with_their_lines(write, tmp_path):
    (tmp_path / "odd\\name.mp4").write_bytes(b"media")
    text = "path,audio\na.mp4,\n\ngone.mp4,gone.wav\nb.mp4,b.wav\n/nowhere/x.mp4,\nodd\\name.mp4,\nx/y\\z.mp4,\n"
    corpus = load(kind="manifest", name="m", path=write(text))
    with pytest.raises(UserError) as error:
        corpus.check_files()
    head, *lines = str(error.value).splitlines()
    assert head == f"{tmp_path / 'clips.csv'} has 6 problems:"
    where = "relative paths start at the manifest's folder"
    assert [line.strip() for line in lines] == [
        f"line 4: no file 'gone.mp4'; {where}",
        f"line 4: no file 'gone.wav'; {where}",
        f"line 5: no file 'b.wav'; {where}",
        f"line 6: no file '/nowhere/x.mp4'; {where}",
        r"line 7: no file 'odd/name.mp4'; a file of the name 'odd\\name.mp4' is written './odd\name.mp4' in a manifest",
        r"line 8: no file 'x/y\\z.mp4'; write '/' between folders",
    ]
    load(kind="manifest", name="m", path=write("path\na.mp4\n./odd\\name.mp4\n")).check_files()


def test_a_missing_path_that_is_longer_than_a_name_may_be(write):
    corpus = load(kind="manifest", name="m", path=write(f"path\n{'/'.join(['folder'] * 60)}.mp4\n"))
    with pytest.raises(UserError, match="line 2: no file 'folder/folder/"):
        corpus.check_files()


def test_many_missing_files_are_cut_and_counted(write):
    corpus = load(kind="manifest", name="m", path=write("path\n" + "".join(f"x{i}.mp4\n" for i in range(55))))
    with pytest.raises(UserError, match=r"has 55 problems:") as error:
        corpus.check_files()
    assert len(str(error.value).splitlines()) == 22 and str(error.value).endswith("... and 35 more")


def test_measured_numbers_for_labels_are_warned_of(write, caplog):
    load(kind="manifest", name="m", path=write("path,label\na.mp4,-0.35\nb.mp4,0.05\nc.mp4,0.45\n"))
    assert "look like measured numbers (3 different ones for 3 clips)" in caplog.text
    caplog.clear()
    load(kind="manifest", name="m", path=write("path,label\n" + "".join(f"{i}.mp4,{i % 4}\n" for i in range(12))))
    assert not caplog.records


def test_the_store_writes_no_column_that_a_manifest_may_have():
    assert set(CLIPS) - set(COLUMNS) <= RESERVED
