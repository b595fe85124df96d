"""A few generated clips, good and bad, and what becomes of them. The face is a public-domain portrait (NASA)."""

from pathlib import Path

import numpy as np
import skimage.data
import torch
from mediafiles import Audio, Video, numbered, write

from deepfusion.config import (
    AudioEncoderSettings,
    CorpusSettings,
    Extraction,
    FaceSettings,
    NetworkSettings,
    SpectrogramSettings,
    StoreSettings,
)
from deepfusion.corpora import read_manifest
from deepfusion.extract.audio_encoder import encoder_shard
from deepfusion.extract.faces import faces_shard
from deepfusion.extract.networks import network_shards
from deepfusion.extract.spectrogram import spectrogram_shard
from deepfusion.extract.store import join

FRAMES = 12
# Uneven on purpose: a variable frame rate.
TIMES = [0.04 * i + 0.013 * (i % 3) for i in range(FRAMES)]


def portrait(frames=FRAMES, *, hidden=()):
    """A face that moves; in the frames `hidden` it is gone."""
    head = skimage.data.astronaut()[0:240, 90:350]
    images = []
    for i in range(frames):
        image = np.full((256, 320, 3), 90, np.uint8)
        if i not in hidden:
            image[8 + i % 3 : 248 + i % 3, 20 + i % 12 : 280 + i % 12] = head
        images.append(image)
    return images


def voice(seconds=1.0, pitch=150.0, rate=16000):
    t = np.arange(round(seconds * rate)) / rate
    return Audio([(0.0, 0.3 * np.sign(np.sin(2 * np.pi * pitch * t))[None])], rate=rate, codec="aac")


def write_clips(folder: Path) -> Path:
    """Eight files of three speakers and their manifest."""
    clips = folder / "clips"
    clips.mkdir(parents=True)
    video = {"options": {"preset": "ultrafast", "crf": "18"}}
    write(clips / "good.mp4", Video(portrait(), times=TIMES, **video), voice())
    write(clips / "hidden.mp4", Video(portrait(hidden=(4, 5)), **video), voice(pitch=220))
    write(clips / "mute.mp4", Video(portrait(), **video))
    write(clips / "voice.wav", audio=Audio(voice(pitch=180).pieces, rate=16000))
    write(clips / "nobody.mp4", Video(numbered(10, 320, 256), **video), voice(pitch=120))
    (clips / "broken.mp4").write_text("this is no video")
    whole = write(clips / "cut.mkv", Video(portrait(40), **video), voice(1.6))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    write(clips / "other.mp4", Video(portrait(), **video), voice(pitch=260))
    rows = [
        "id,path,label,speaker,start,end",
        "good,clips/good.mp4,happy,anna,,",
        "part,clips/good.mp4,happy,anna,0.1,0.3",
        "hidden,clips/hidden.mp4,sad,anna,,",
        "mute,clips/mute.mp4,sad,bert,,",
        "voice,clips/voice.wav,happy,bert,,",
        "nobody,clips/nobody.mp4,sad,cleo,,",
        "broken,clips/broken.mp4,sad,cleo,,",
        "cut,clips/cut.mkv,happy,cleo,,",
        "other,clips/other.mp4,happy,cleo,,",
    ]
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n")
    return manifest


CPU = torch.device("cpu")
SLOTS = {"EF-A": NetworkSettings(network="dlib-resnet29"), "EF-B": NetworkSettings(network="sface")}
BLOCK = 5  # two shards


def extract(manifest, results, *, dtype="float32", slots=SLOTS, rate=None, engine="eager"):
    """Path of the store; an engine other than eager takes seconds to open."""
    clips = read_manifest(manifest, labels=None)
    for i, first in enumerate(range(0, len(clips), BLOCK)):
        rows = clips.iloc[first : first + BLOCK]
        stages = ("faces", "spectrogram", "AF", *slots)
        shard = {stage: results / "shards" / stage / f"{i:05d}.h5" for stage in stages}
        faces_shard(rows, shard["faces"], settings=FaceSettings(rate=rate))
        spectrogram_shard(rows, shard["spectrogram"], settings=SpectrogramSettings(), dtype=dtype)
        encoder_shard(shard["spectrogram"], shard["AF"], settings=AudioEncoderSettings())
        outs = {slot: shard[slot] for slot in slots}
        network_shards(rows, shard["faces"], outs, networks=slots, dtype=dtype, device=CPU, rate=rate, engine=engine)
    config = Extraction(
        corpus=CorpusSettings(name="small", source="manifest", path=str(manifest)),
        store=StoreSettings(dtype=dtype, clips_per_shard=BLOCK),
        networks=slots,
        faces=FaceSettings(rate=rate),
    )
    join(manifest, results / "shards", results / "features.h5", config=config)
    return results / "features.h5"
