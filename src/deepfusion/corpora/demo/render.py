"""Write the demo corpus's clips: H.264 and AAC in mp4, each written to a temporary file and then renamed."""

import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from deepfusion.atomic import write_atomically
from deepfusion.corpora.demo import FRAME_RATE, plan, stretch, stretches
from deepfusion.corpora.demo.face import SIZE, amplitude, film
from deepfusion.corpora.demo.voice import RATE, speech
from deepfusion.errors import UserError

STRETCHES = "stretch.csv"
"""Next to the clips: when each clip of the corpus shows its expression and its manner, see `stretches`."""


def generate(
    folder: str | os.PathLike,
    *,
    speakers: int,
    takes: int,
    seed: int,
    speaker: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write the clips of one speaker, or of all, and `STRETCHES` of the whole corpus.

    Args:
        folder: Where the paths of `plan` start; made if absent.
        speakers: As in `plan`.
        takes: As in `plan`.
        seed: As in `plan`.
        speaker: The one whose clips are written; None: all.
        progress: Called with the id of each clip that has been written.

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
    # Parallel jobs of several speakers write identical files.
    table = stretches(speakers=speakers, takes=takes, seed=seed)
    write_atomically(Path(folder) / STRETCHES, lambda part: table.to_csv(part, index=False, float_format="%.3f"))
    paths = [Path(folder) / path for path in clips["path"]]
    for clip, path in zip(clips["id"], paths, strict=True):
        render(clip, path, seed=seed)
        if progress:
            progress(clip)
    return paths


def render(clip: str, path: str | os.PathLike, *, seed: int) -> np.ndarray:
    """Write one clip; the same id and seed give the same clip, byte by byte, on the same versions of the libraries.

    Args:
        clip: An id of `plan`.
        path: The mp4 file; its folder is made if absent.
        seed: As in `plan`.

    Returns:
        (L,) bool, False for frames whose face is covered on purpose.

    Raises:
        UserError: Not an id of the demo corpus.
    """
    parts = re.fullmatch(r"s(\d+)-f([0-3])-v([0-3])-t(\d+)", clip)
    if parts is None:
        raise UserError(f"{clip!r} is not a clip of the demo corpus: ids are like s01-f0-v0-t0")
    numbers = (int(parts[1]), int(parts[2]), int(parts[3]), int(parts[4]))
    speaker, face, voice, _ = numbers
    frames, start, end = stretch(numbers, seed)
    how_far = amplitude(np.arange(frames) / FRAME_RATE, start, end)
    video = film(speaker, face, how_far, seed=seed, clip=numbers)
    audio = speech(speaker, voice, frames / FRAME_RATE, stretch=(start, end), seed=seed, clip=numbers)
    write_atomically(Path(path), lambda part: _write(part, video.frames, audio))
    return video.visible


def _write(path: Path, frames: np.ndarray, samples: np.ndarray) -> None:
    """Encode (L, SIZE, SIZE, 3) uint8 RGB and (n,) float32 audio."""
    # bitexact keeps version strings and dates out of the file; one thread: the result does not depend on the cores.
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        quality = {"crf": "23", "preset": "ultrafast", "flags": "+bitexact"}
        video = container.add_stream("libx264", rate=FRAME_RATE, options=quality)
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        audio = container.add_stream("aac", rate=RATE, layout="mono", options={"flags": "+bitexact"})
        audio.bit_rate = 64_000
        for image in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        whole = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        whole.sample_rate, whole.time_base, whole.pts = RATE, Fraction(1, RATE), 0
        container.mux(audio.encode(whole))
        container.mux(audio.encode(None))
