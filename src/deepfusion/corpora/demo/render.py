"""Write the demo corpus's clips: H.264 and AAC in mp4, each written beside its place and then renamed."""

import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from deepfusion.atomic import write_atomically
from deepfusion.corpora.demo import plan
from deepfusion.corpora.demo.face import FRAME_RATE, SIZE, film
from deepfusion.corpora.demo.voice import RATE, speech
from deepfusion.errors import UserError

SHORTEST, LONGEST = 12, 20
"""Frames of a clip, both included: 1.2 to 2 s."""


def generate(
    folder: str | os.PathLike,
    *,
    speakers: int,
    takes: int,
    seed: int,
    speaker: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write the clips of one speaker, or of all.

    Args:
        folder: where the paths of `plan` start; made if absent.
        speakers: as in `plan`.
        takes: as in `plan`.
        seed: as in `plan`.
        speaker: the one whose clips are written; all speakers' if None.
        progress: called with a clip's id when it stands on disk.

    Returns:
        The files, in the order of the plan.

    Raises:
        UserError: no such speaker.
    """
    clips = plan(speakers=speakers, takes=takes, seed=seed)
    if speaker is not None:
        if speaker not in set(clips["speaker"]):
            raise UserError(f"the demo corpus has no speaker {speaker!r}: it has s01 to s{speakers:02d}")
        clips = clips[clips["speaker"] == speaker]
    paths = [Path(folder) / path for path in clips["path"]]
    for clip, path in zip(clips["id"], paths, strict=True):
        render(clip, path, seed=seed)
        if progress:
            progress(clip)
    return paths


def render(clip: str, path: str | os.PathLike, *, seed: int) -> np.ndarray:
    """Write one clip; the same id and seed give the same clip, byte by byte, on the same versions of the libraries.

    Args:
        clip: an id of `plan`.
        path: the mp4 file; its folder is made if absent.
        seed: as in `plan`.

    Returns:
        (L,) bool, False for frames whose face is covered on purpose.

    Raises:
        UserError: not an id of the demo corpus.
    """
    parts = re.fullmatch(r"s(\d+)-f([0-3])-v([0-3])-t(\d+)", clip)
    if parts is None:
        raise UserError(f"{clip!r} is no clip of the demo corpus: they are called like s01-f0-v0-t0")
    numbers = tuple(int(part) for part in parts.groups())
    speaker, face, voice, _ = numbers
    count = int(np.random.default_rng([seed, 0, *numbers]).integers(SHORTEST, LONGEST + 1))
    pictures = film(speaker, face, count, seed=seed, clip=numbers)
    sound = speech(speaker, voice, count / FRAME_RATE, seed=seed, clip=numbers)

    write_atomically(Path(path), lambda part: _write(part, pictures.frames, sound))
    return pictures.visible


def _write(path: Path, frames: np.ndarray, sound: np.ndarray) -> None:
    """Encode (L, SIZE, SIZE, 3) uint8 RGB and (n,) float32 sound."""
    # bitexact keeps version strings and dates out of the file; one thread, so that the machine's cores do not matter.
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        quality = {"crf": "23", "preset": "veryfast", "flags": "+bitexact"}
        video = container.add_stream("libx264", rate=FRAME_RATE, options=quality)
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        audio = container.add_stream("aac", rate=RATE, layout="mono", options={"flags": "+bitexact"})
        audio.bit_rate = 64_000
        for image in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        whole = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        whole.sample_rate, whole.time_base, whole.pts = RATE, Fraction(1, RATE), 0
        container.mux(audio.encode(whole))
        container.mux(audio.encode(None))
