"""Memory and time of streaming one long clip: python benchmarks/media_memory.py --minutes 30.

Writes a 1280x720 H.264 file with AAC audio (10 s of moving noise encoded once, its packets repeated with later
times), then streams the frames, the audio and the spectrogram in this process, in that order, and writes
docs/results/media_memory.json.
The peak includes Python and its libraries; the memory before streaming is printed next to it.
"""

import argparse
import resource
import tempfile
import time
from fractions import Fraction
from multiprocessing import Process
from pathlib import Path

import av
import numpy as np
from provenance import publish

from deepfusion.media import frames, read_audio
from deepfusion.spectrogram import spectrogram

LOOP = 10  # s
WIDTH, HEIGHT, SOUND_RATE = 1280, 720, 48000


def peak_mb() -> float:
    """Peak resident memory of this process so far, MB (ru_maxrss is in KiB on Linux)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def write_long_clip(path: Path, minutes: float, rate: int) -> None:
    rng = np.random.default_rng(0)
    background = rng.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.gop_size = LOOP * rate
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        packets = []
        for i in range(LOOP * rate):
            frame = av.VideoFrame.from_ndarray(np.roll(background, 4 * i, axis=1), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, rate)
            packets += video.encode(frame)
        packets += video.encode(None)
        for first in range(0, LOOP * SOUND_RATE, 1024):
            frame = av.AudioFrame.from_ndarray(
                rng.normal(0, 0.1, (1, 1024)).astype(np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, first, Fraction(1, SOUND_RATE)
            packets += audio.encode(frame)
        loop = sorted(
            ((p.stream, bytes(p), p.pts * p.time_base, p.dts * p.time_base, p.is_keyframe) for p in packets),
            key=lambda packet: packet[3],
        )
        # 468.75 AAC blocks make 10 s: the 469th of a loop would overlap, so audio keeps a running count.
        blocks = 0
        for turn in range(round(minutes * 60 / LOOP)):
            for stream, data, pts, dts, key in loop:
                packet = av.Packet(data)
                packet.stream, packet.is_keyframe = stream, key
                if stream is audio:
                    packet.time_base = Fraction(1, SOUND_RATE)
                    packet.pts = packet.dts = blocks * 1024
                    packet.duration = 1024
                    blocks += 1
                else:
                    packet.time_base = Fraction(1, rate)
                    packet.pts, packet.dts = (round((t + turn * LOOP) * rate) for t in (pts, dts))
                    packet.duration = 1
                container.mux(packet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=int, default=25, help="frames per second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        writer = Process(target=write_long_clip, args=(path, options.minutes, options.rate))
        writer.start()  # a separate process, so that the encoder's memory does not count
        writer.join()
        result = {
            "minutes": options.minutes,
            "frame": f"{WIDTH}x{HEIGHT}",
            "file_mb": round(path.stat().st_size / 2**20, 1),
            "peak_before_mb": peak_mb(),
        }
        began = time.perf_counter()
        result["frames"] = sum(1 for _ in frames(path))
        result |= {"frames_s": round(time.perf_counter() - began, 1), "peak_after_frames_mb": peak_mb()}
        began = time.perf_counter()
        heard = read_audio(path)
        result |= {"sound_s": round(time.perf_counter() - began, 1), "peak_after_sound_mb": peak_mb()}
        began = time.perf_counter()
        levels = spectrogram(heard.samples, rate=heard.rate)
        result |= {"spectrogram_s": round(time.perf_counter() - began, 1), "windows": len(levels)}
        result["peak_mb"] = peak_mb()
    publish(Path("docs/results/media_memory.json"), {"figures": result})


if __name__ == "__main__":
    main()
