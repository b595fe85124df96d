"""Adapters of public corpora, each on a generated tree of its own names."""

import itertools
import logging

import pytest

from deepfusion.corpora import adapter, load, public, read_manifest, write_manifest
from deepfusion.corpora.folds import by_published, by_split, shared_clips
from deepfusion.corpora.listing import described
from deepfusion.errors import UserError


def tree(folder, *names, **texts):
    """Files of these names; keyword arguments are not needed for names, `texts` maps a name to its contents."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"media")
    for name, text in texts.get("texts", {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def read(kind, folder, **options):
    return load(kind=kind, name=kind, path=folder, options=options)


def rows(corpus, *columns):
    return corpus.clips[list(columns)].to_numpy().tolist()


def speakers_of(folds, corpus):
    return [sorted(set(corpus.clips["speaker"][corpus.clips["fold"].isin(fold.test)])) for fold in folds]


@pytest.mark.parametrize("name", public())
def test_every_adapter_says_what_a_reader_needs(name):
    module, text = adapter(name), described([name])
    for known in (module.LICENCE, module.OWNER, module.CITATION, *module.TREE.splitlines()):
        assert known in text
    labels = module.LABELS if isinstance(module.LABELS, dict) else {"": module.LABELS}
    assert all(len(set(of)) == len(of) > 3 for of in labels.values())


def test_the_list_has_them_all():
    assert all(f"{name}: " in described() for name in public())
    with pytest.raises(UserError, match="no adapter 'ravdes'; there are afew"):
        described(["ravdes"])


# RAVDESS


def ravdess(folder):
    """All speech clips of all modalities, and a song."""
    names = []
    for actor, emotion, intensity, statement, repetition in itertools.product(range(1, 25), range(1, 9), *[(1, 2)] * 3):
        if emotion > 1 or intensity == 1:  # neutral has no strong intensity
            take = f"01-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}"
            names.append(f"Video_Speech_Actor_{actor:02d}/Actor_{actor:02d}/01-{take}.mp4")
            if actor == 1:
                names += [f"Video_Speech_Actor_01/Actor_01/02-{take}.mp4", f"Audio_Speech_Actors_01-24/03-{take}.wav"]
    return tree(folder, *names, "Video_Song_Actor_01/Actor_01/01-02-03-01-01-01-01.mp4", "._01-01-01-01-01-01-01.mp4")


def test_ravdess_counts_each_take_once(tmp_path):
    corpus = read("ravdess", ravdess(tmp_path))
    counts = corpus.clips["label"].value_counts()
    assert len(corpus.clips) == 1440 and counts.pop("neutral") == 96 and counts.eq(192).all() and len(counts) == 7
    assert rows(corpus, "id", "label", "speaker", "fold", "intensity")[-1] == [
        *("01-01-08-02-02-02-24", "surprised", "ravdess_24", "6", "02")
    ]
    assert corpus.clips["fold"].value_counts().eq(240).all()
    assert speakers_of(by_published(corpus.clips), corpus)[1] == [f"ravdess_0{n}" for n in (5, 6, 7, 8)]
    other = read("ravdess", tmp_path, folds="emobox", channel="both")
    assert len(other.clips) == 1441
    assert speakers_of(by_published(other.clips), other)[0] == [f"ravdess_{n}" for n in ("01", "11", "20", "21")]
    assert [len(of) for of in speakers_of(by_published(other.clips), other)] == [4] * 6


def test_options_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"corpus\.options\.folds: 'loso' is not one of hicmae, emobox"):
        read("ravdess", tmp_path, folds="loso")
    with pytest.raises(UserError, match=r"corpus\.options: ravdess has no option 'fold'; there are folds, channel"):
        read("ravdess", tmp_path, fold="hicmae")
    with pytest.raises(UserError, match="savee has no option 'folds'; it has none"):
        read("savee", tmp_path, folds="hicmae")


# CREMA-D


def test_cremad(tmp_path, caplog):
    names = ["1001_IEO_ANG_HI", "1018_IWW_NEU_XX", "1019_TSI_DIS_X", "1091_DFA_HAP_MD", "1054_ITH_FEA_LO"]
    broken = ["1076_MTI_SAD_XX", "1040_ITH_SAD_XX"]
    tree(tmp_path, *(f"VideoFlash/{name}.flv" for name in names + broken), "AudioWAV/1001_IEO_ANG_HI.wav")
    tree(tmp_path, "AudioMP3/1001_IEO_ANG_HI.mp3", "VideoFlash/1092_IEO_ANG_HI.flv")
    with caplog.at_level(logging.WARNING):
        corpus = read("cremad", tmp_path)
    assert rows(corpus, "id", "label", "speaker", "fold", "intensity") == [
        ["1001_IEO_ANG_HI", "anger", "cremad_1001", "1", "HI"],
        ["1018_IWW_NEU_XX", "neutral", "cremad_1018", "1", "X"],
        ["1019_TSI_DIS_X", "disgust", "cremad_1019", "2", "X"],
        ["1054_ITH_FEA_LO", "fear", "cremad_1054", "3", "LO"],
        ["1091_DFA_HAP_MD", "happy", "cremad_1091", "5", "MD"],
    ]
    assert corpus.clips["audio"].tolist() == [str(tmp_path / "AudioWAV/1001_IEO_ANG_HI.wav"), "", "", "", ""]
    assert corpus.left_out["its audio is missing from the corpus"] == ["1076_MTI_SAD_XX"]
    assert "1 clip left out, its audio is missing from the corpus: 1076_MTI_SAD_XX" in caplog.text


def test_cremad_as_it_is_perceived(tmp_path):
    names = [f"1001_{sentence}_ANG_XX" for sentence in ("IEO", "TIE", "IOM")]
    tree(tmp_path, *(f"VideoFlash/{name}.flv" for name in names))
    with pytest.raises(UserError, match=r"summaryTable\.csv: there is no such file; options: {labels: perceived}"):
        read("cremad", tmp_path, labels="perceived")
    table = f'"","FileName","VoiceVote","MultiModalVote"\n1,{names[0]},A,N\n2,{names[1]},A,A:D\n'
    tree(tmp_path, texts={"processedResults/summaryTable.csv": table})
    corpus = read("cremad", tmp_path, labels="perceived")
    assert rows(corpus, "id", "label") == [[names[0], "neutral"]]
    assert corpus.left_out == {"summaryTable.csv lacks it": names[2:], "its raters do not agree": names[1:2]}


def test_what_git_lfs_leaves_is_no_clip(tmp_path):
    tree(
        tmp_path, texts={"VideoFlash/1001_IEO_ANG_HI.flv": "version https://git-lfs.github.com/spec/v1\noid sha256:1\n"}
    )
    with pytest.raises(UserError, match=r"1001_IEO_ANG_HI\.flv is a Git LFS pointer.*run `git lfs pull`"):
        read("cremad", tmp_path)


# eNTERFACE'05


def test_enterface_goes_by_its_folders(tmp_path):
    corpus = read(
        "enterface",
        tree(
            tmp_path,
            "enterface database/subject 1/anger/sentence 1/s1_an_1.avi",
            "enterface database/subject 11/disgust/sentence 2/s12_di_2.avi",  # its files have another's number
            "enterface database/subject 12/disgust/sentence 2/s12_di_2.avi",
            "enterface database/subject 3/fear/sentence 5/s_3_fe_5.avi",
            "enterface database/subject 16/surprise/sentence 3/s16_su_3avi.avi",
            "enterface database/subject 6/anger/s6_an.avi",
            "enterface database/subject 44/sadness/sentence 4/s44_sa_4.avi",
            "enterface database/subject 44/sadness/sentence 4/Thumbs.db",
        ),
    )
    assert sorted(rows(corpus, "id", "label", "speaker", "fold")) == [
        ["subject11_di_2", "disgust", "enterface_11", "2"],
        ["subject12_di_2", "disgust", "enterface_12", "2"],
        ["subject16_su_3", "surprise", "enterface_16", "2"],
        ["subject1_an_1", "anger", "enterface_1", "1"],
        ["subject3_fe_5", "fear", "enterface_3", "1"],
        ["subject44_sa_4", "sadness", "enterface_44", "5"],
    ]
    assert corpus.left_out == {"all sentences of an emotion are in one file": ["subject6_an_s6_an"]}
    assert len(by_published(corpus.clips)) == 3


# SAVEE


def test_savee_in_both_spellings(tmp_path):
    names = ["AudioVisualClip/DC/a1.avi", "AudioVisualClip/DC/sa03.avi", "AudioVisualClip/JK/n30.avi", "KL_su15.avi"]
    corpus = read("savee", tree(tmp_path, *names, "AudioVisualClip/JE/h2.avi", "AudioData/DC/a01.wav"))
    assert sorted(rows(corpus, "id", "label", "speaker", "fold")) == [
        ["DC_a01", "anger", "savee_DC", "3"],
        ["DC_sa03", "sadness", "savee_DC", "3"],
        ["JE_h02", "happiness", "savee_JE", "1"],
        ["JK_n30", "neutral", "savee_JK", "4"],
        ["KL_su15", "surprise", "savee_KL", "2"],
    ]
    assert len(by_published(corpus.clips)) == 4
    with pytest.raises(UserError, match="two clips have the id 'DC_a01'"):
        read("savee", tree(tmp_path, "AudioVisualClip/DC/a01.avi"))


# MEAD


def test_mead_takes_one_view_and_its_audio(tmp_path):
    views = [f"M003/video/{view}/angry/level_3/001.mp4" for view in ("front", "left_30", "top")]
    tree(tmp_path, *views, "M003/audio/angry/level_3/001.m4a", "W009/video/front/neutral/level_1/040.mp4")
    corpus = read("mead", tmp_path)
    assert rows(corpus, "id", "label", "speaker", "audio") == [
        ["M003_angry_3_001", "angry", "mead_M003", str(tmp_path / "M003/audio/angry/level_3/001.m4a")]
    ]
    assert corpus.left_out == {"its audio file is missing": ["W009_neutral_1_040"]}
    (path,) = read("mead", tmp_path, view="left_30").clips["path"]
    assert path == str(tmp_path / views[1])


# IEMOCAP

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
[10.0100 - 11.3925]\tSes01F_impro01_M001\texc\t[4.5000, 3.5000, 2.5000]
[14.8872 - 18.0175]\tSes01F_impro01_F002\txxx\t[2.5000, 2.5000, 2.5000]
[19.2900 - 20.7875]\tSes01F_impro01_M003\tfru\t[2.0000, 3.0000, 3.0000]
"""


def iemocap(folder):
    dialogue = "Session1/dialog/{}/Ses01F_impro01.{}"
    tree(folder, dialogue.format("avi/DivX", "avi"), dialogue.format("wav", "wav"))
    other = EVALUATION.replace("Ses01F_impro01", "Ses05M_script01_1b")
    lists = {"Session5/dialog/EmoEvaluation/Ses05M_script01_1b.txt": other}
    lists[dialogue.format("EmoEvaluation", "txt")] = EVALUATION
    lists["Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e1_cat.txt"] = EVALUATION
    return tree(folder, "Session5/dialog/avi/DivX/Ses05M_script01_1b.avi", texts=lists)


def test_iemocap_cuts_turns_and_follows_their_speaker(tmp_path):
    corpus = read("iemocap", iemocap(tmp_path))
    assert corpus.labels == ["neutral", "angry", "sad", "happy"]
    columns = ["id", "label", "speaker", "fold", "start", "end", "person"]
    assert rows(corpus, *columns) == [
        ["Ses01F_impro01_F000", "neutral", "iemocap_1F", "1", 6.2901, 8.2357, "left-half"],
        ["Ses01F_impro01_M001", "happy", "iemocap_1M", "1", 10.01, 11.3925, "right-half"],
        ["Ses05M_script01_1b_F000", "neutral", "iemocap_5F", "5", 6.2901, 8.2357, "right-half"],
        ["Ses05M_script01_1b_M001", "happy", "iemocap_5M", "5", 10.01, 11.3925, "left-half"],
    ]
    assert [bool(audio) for audio in corpus.clips["audio"]] == [True, True, False, False]
    assert sum(map(len, corpus.left_out.values())) == 4
    six = read("iemocap", tmp_path, classes="six")
    assert six.clips["label"].tolist() == ["neutral", "excited", "frustrated"] * 2 and len(six.labels) == 6
    (tmp_path / "Session5/dialog/avi/DivX/Ses05M_script01_1b.avi").unlink()
    assert read("iemocap", tmp_path).left_out["there is no Ses05M_script01_1b.avi"]


# MSP-IMPROV


def test_mspimprov_takes_its_labels_from_the_list(tmp_path):
    name = "MSP-IMPROV-S{}-{}-{}"
    clips = [
        name.format("01A", "F01", "P-FM01"),
        name.format("20N", "M06", "T-MF12"),
        name.format("03H", "M01", "S-MM02"),
    ]
    tree(
        tmp_path,
        *(f"session{i}/x/{clip}.avi" for i, clip in enumerate(clips)),
        "session1/x/MSP-IMPROV-S21A-F01-P-FM01.avi",
    )
    with pytest.raises(UserError, match=r"has no Evaluation\.txt"):
        read("mspimprov", tmp_path)
    lines = [
        f"UTD-{clip[4:]}.avi; {letter}; A:2.1; V:3.2; D:1.0; N:4.0;" for clip, letter in zip(clips, "NSX", strict=True)
    ]
    tree(tmp_path, texts={"Evalution.txt": "\n".join([lines[0], "  E-ann1; Angry; ; A:1", "", *lines[1:]])})
    corpus = read("mspimprov", tmp_path)
    assert rows(corpus, "id", "label", "speaker", "fold") == [
        [clips[0], "neutral", "mspimprov_F01", "1"],
        [clips[1], "sad", "mspimprov_M06", "6"],
    ]
    assert corpus.left_out == {"its raters do not agree": clips[2:]}


# MELD

HEAD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
LINE = '{},"Oh, my\u0092 ""God""!",{},{},positive,{},{},8,21,"00:16:16,059","00:16:21,731"\n'


def meld(folder):
    lists = {
        "train": [("Joey", "joy", 0, 0), ("Ross", "anger", 0, 1), ("All", "fear", 125, 3), ("Ross", "sadness", 9, 9)],
        "dev": [("Joey", "neutral", 0, 0), ("Rachel", "joy", 110, 7)],
        "test": [("Joey", "surprise", 0, 0), ("The Waiter", "disgust", 38, 4), ("Monica", "joy", 1, 2)],
    }
    places = {"train": "train/train_splits", "dev": "dev_splits_complete", "test": "test/output_repeated_splits_test"}
    for part, lines in lists.items():
        text = HEAD + "".join(LINE.format(i, *line) for i, line in enumerate(lines))
        clips = [f"{places[part]}/dia{d}_utt{u}.mp4" for _, _, d, u in lines if d != 9]
        tree(folder, *clips, f"{places[part]}/._dia0_utt0.mp4", texts={f"{part}_sent_emo.csv": text})
    return tree(folder, f"{places['test']}/final_videos_testdia0_utt0.mp4")


def test_meld_has_its_split_and_its_faults(tmp_path):
    corpus = read("meld", meld(tmp_path))
    assert rows(corpus, "id", "label", "speaker", "split") == [
        ["train/dia0_utt0", "joy", "meld_Joey", "train"],
        ["train/dia0_utt1", "anger", "meld_Ross", "train"],
        ["dev/dia0_utt0", "neutral", "meld_Joey", "val"],
        ["test/dia0_utt0", "surprise", "meld_Joey", "test"],
        ["test/dia1_utt2", "joy", "meld_Monica", "test"],
    ]
    assert [id_ for ids in corpus.left_out.values() for id_ in ids] == [
        *("train/dia125_utt3", "train/dia9_utt9", "dev/dia110_utt7", "test/dia38_utt4")
    ]
    assert shared_clips(corpus.clips, [by_split(corpus.clips)]) == (1, 2)


def test_a_csv_without_a_column(tmp_path):
    (meld(tmp_path) / "dev_sent_emo.csv").write_text("Utterance,Speaker\na,b\n")
    with pytest.raises(UserError, match=r"dev_sent_emo\.csv has no column 'emotion'; it has utterance, speaker"):
        read("meld", tmp_path)


# Films: no speaker is known.


def test_dfew(tmp_path):
    lists = {
        f"EmoLabel_DataSplit/test(single-labeled)/set_{k}.csv": f"video_name,label\n{k},{k}\n{k + 5},7\n"
        for k in range(1, 6)
    }
    corpus = read("dfew", tree(tmp_path, *(f"Clip/original/{n}.mp4" for n in range(1, 10)), texts=lists))
    assert rows(corpus, "id", "label", "speaker", "fold")[:2] == [
        ["00001", "happy", "", "1"],
        ["00006", "fear", "", "1"],
    ]
    assert corpus.left_out == {"listed, but the file is missing": ["00010"]}
    with pytest.raises(UserError, match=r"no speaker is known, .* set protocol\.shared_speakers: declared"):
        by_published(corpus.clips)
    assert len(by_published(corpus.clips, shared_speakers=True)) == 5


def test_mafw(tmp_path):
    sets = "Train & Test Set/single/no_caption/set_{}/{}.txt"
    lists = {sets.format(k, "test"): f"{k:05d}.mp4 anger\n\n{k + 20:05d}.mp4 helplessness\n" for k in range(1, 6)}
    lists[sets.format(1, "train")] = "00002.mp4 anger\n"
    clips = [f"clips/{n:05d}.mp4" for k in range(1, 6) for n in (k, k + 20)]
    corpus = read("mafw", tree(tmp_path, *clips, "clips/09999.mp4", texts=lists))
    assert len(corpus.clips) == 10 and len(corpus.labels) == 11 and not corpus.left_out
    assert rows(corpus, "id", "label", "fold")[1] == ["00021", "helplessness", "1"]
    (tmp_path / sets.format(3, "test")).write_text("00003.mp4 angry\n")
    with pytest.raises(UserError, match=r"test\.txt, line 1: '00003\.mp4 angry' is no clip with one of MAFW's"):
        read("mafw", tmp_path)


def test_mer2023_keeps_clips_without_a_label(tmp_path):
    names = [
        "train/sample_00000001.avi",
        "train/sample_00000002.mp4",
        "test1/sample_00000009.mp4",
        "test3/sample_00000007.mp4",
    ]
    lists = {
        "train-label.csv": "name,discrete,valence\nsample_00000001,worried,-1.5\nsample_00000002,happy,2\n",
        "test1-label.csv": "name,discrete,valence\nsample_00000009,surprise,0\n",
    }
    tree(tmp_path, *names, texts=lists)
    assert rows(read("mer2023", tmp_path), "id", "label", "split") == [
        ["train/sample_00000001", "worried", "train"],
        ["train/sample_00000002", "happy", "train"],
        ["test1/sample_00000009", "surprise", "test"],
    ]
    corpus = read("mer2023", tmp_path, test="test3")
    assert rows(corpus, "id", "label", "split")[-1] == ["test3/sample_00000007", "", "unlabelled"]
    write_manifest(tmp_path / "manifest.csv", corpus.clips)
    assert read_manifest(tmp_path / "manifest.csv", labels=corpus.labels).equals(corpus.clips)


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(UserError, match="holds no clips of savee: `deepfusion corpora savee` lists the expected files"):
        read("savee", tree(tmp_path, "a.mp4"))
    with pytest.raises(UserError, match="has none of the folders Clip/original, original"):
        read("dfew", tmp_path)
