import csv
import errno
import os
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from mediafiles import (
    Audio,
    Video,
    call_all_frames_key_frames,
    chirp,
    chirp_time,
    hdr,
    mjpeg_mkv,
    number,
    numbered,
    packed_avi,
    quadrants,
    set_display_matrix,
    with_cover,
    write,
)

from deepfusion.errors import ClipError, TransientError
from deepfusion.media import frames, probe, read_audio, video

VARIABLE = [0.0, 0.04, 0.1, 0.11, 0.3, 0.31, 0.32, 0.5, 1.0, 1.04, 1.08, 1.5]


def noise(n: int, width: int = 64, height: int = 48) -> list:
    """Pictures that are all different and compress badly."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (n, height // 4, width // 4, 3), dtype=np.uint8)
    return list(coarse.repeat(4, axis=1).repeat(4, axis=2))


def moving(n: int) -> list:
    """A pattern that wanders: all pictures but the key frames are coded as what changed."""
    pattern = noise(1)[0]
    return [np.roll(pattern, (i, i // 3), axis=(1, 0)) for i in range(n)]


def noise_sound(rate: int, length: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.2, (1, round(rate * length)))


# --- frames: times and order


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_variable_rate_and_reordered_frames_keep_their_times(tmp_path, name):
    path = write(tmp_path / name, Video(numbered(12), times=VARIABLE, reordered=3))
    seen = list(frames(path))
    assert [frame.time for frame in seen] == VARIABLE
    assert [number(frame.image) for frame in seen] == list(range(12))
    assert seen[0].image.shape == (48, 64, 3) and seen[0].image.dtype == np.uint8


@pytest.mark.parametrize(("name", "codec"), [("late.mkv", "pcm_s16le"), ("late.mp4", "aac")])
def test_clock_of_the_file_is_kept(tmp_path, name, codec):
    video = Video(numbered(5), times=[3.5, 3.54, 3.58, 3.62, 3.66])
    path = write(tmp_path / name, video, Audio([(3.75, chirp(48000, 1, 0.25))], codec=codec))
    seen = probe(path)
    assert seen.video_start == next(frames(path)).time == 3.5
    heard = read_audio(path)
    assert seen.audio_start == heard.start == pytest.approx(3.75, abs=0.03)  # less the AAC encoder's priming
    assert [frame.time for frame in frames(path, start=3.55, end=3.63)] == [3.58, 3.62]  # of these, the clock is from 0
    assert seen.begin == 0
    # Both containers keep a start in whole milliseconds.
    assert chirp_time(heard.samples, 16000, heard.start) == pytest.approx(4.0, abs=0.001)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_avi_has_ticks_alone_and_reordered_frames_still_increase(tmp_path, codec):
    video = Video(moving(12), codec=codec, reordered=2)
    reference = [frame.image for frame in frames(write(tmp_path / "same.mkv", video))]
    seen = list(frames(write(tmp_path / "a.avi", video)))
    assert np.allclose(np.diff([frame.time for frame in seen]), 0.04)
    assert seen[0].time <= 0.08
    assert all((frame.image == image).all() for frame, image in zip(seen, reference, strict=True))


def test_packed_avi(tmp_path):
    seen = list(frames(packed_avi(tmp_path / "packed.avi", n=20)))
    assert [number(frame.image) for frame in seen] == list(range(20))
    assert np.allclose(np.diff([frame.time for frame in seen]), 0.04)


def test_of_frames_with_the_same_time_the_first_is_given(tmp_path):
    seen = list(frames(mjpeg_mkv(tmp_path / "a.mkv", [0, 40, 40, 80])))
    assert [(frame.time, number(frame.image)) for frame in seen] == [(0, 0), (0.04, 1), (0.08, 3)]


def test_times_that_run_backwards(tmp_path):
    stream = frames(mjpeg_mkv(tmp_path / "a.mkv", [0, 80, 40, 120]))
    assert next(stream).time == 0
    with pytest.raises(ClipError, match=r"run backwards, 0\.080 to 0\.040 s"):
        list(stream)


def test_frames_without_times(tmp_path):
    path = write(tmp_path / "raw.h264", Video(numbered(8), reordered=2))
    with pytest.raises(ClipError, match="no presentation time"):
        list(frames(path))
    with pytest.raises(ClipError, match="no times"):
        probe(path)


# --- frames: shape and colour


@pytest.mark.parametrize(
    ("matrix", "rotation", "upright"),
    [
        ((1, 0, 0, 1), 0, lambda image: image),
        ((0, 1, -1, 0), 90, lambda image: np.rot90(image, -1)),
        ((-1, 0, 0, -1), 180, lambda image: np.rot90(image, 2)),
        ((0, -1, 1, 0), 270, lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, 1), 0, np.fliplr),
        ((1, 0, 0, -1), 180, np.flipud),
        ((0, 1, 1, 0), 270, lambda image: np.swapaxes(image, 0, 1)),
    ],
)
def test_rotation(tmp_path, matrix, rotation, upright):
    path = write(tmp_path / "a.mp4", Video([quadrants()] * 2, pix_fmt="yuv444p", options={"qp": "0"}))
    set_display_matrix(path, matrix)
    want = upright(quadrants())
    seen = probe(path)
    assert (seen.rotation, seen.height, seen.width) == (rotation, *want.shape[:2])
    image = next(frames(path)).image
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - want).max() <= 4


@pytest.mark.parametrize(
    ("aspect", "width", "height"), [("16/15", 96, 72), ("64/45", 128, 72), ("8/9", 90, 81), ("300/299", 90, 72)]
)
def test_pixels_are_made_square(tmp_path, aspect, width, height):
    # A disk as a camera with such pixels stores it; 90x72 with pixels 16:15 is the shape of PAL.
    y, x = np.mgrid[:72, :90]
    disk = ((x - 44.5) * float(Fraction(aspect))) ** 2 + (y - 35.5) ** 2 < 30**2
    image = np.repeat(np.where(disk, 220, 20).astype(np.uint8)[..., None], 3, axis=2)
    video = Video([image], pix_fmt="yuv444p", aspect=Fraction(aspect), options={"qp": "0"})
    path = write(tmp_path / "a.mp4", video)
    seen = probe(path)
    assert (seen.width, seen.height) == (width, height)
    bright = next(frames(path)).image[..., 0] > 120
    assert bright.shape == (height, width)
    across, down = bright.any(axis=0).sum(), bright.any(axis=1).sum()
    assert abs(across - down) <= 2


def test_impossible_pixels(tmp_path):
    path = write(tmp_path / "a.mp4", Video(numbered(2), aspect=Fraction(1, 9)))
    with pytest.raises(ClipError, match="damaged header"):
        probe(path)
    with pytest.raises(ClipError, match="damaged header"):
        next(frames(path))


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 47)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv444p", "bgr0", "gray", "gray10le"])
def test_pixel_formats_and_odd_sizes(tmp_path, pix_fmt, width, height):
    path = write(tmp_path / "a.mkv", Video([quadrants(width, height)], codec="ffv1", pix_fmt=pix_fmt))
    image = next(frames(path)).image
    want = quadrants(width, height).astype(float)
    if "gray" in pix_fmt:
        want = np.repeat((want @ [0.299, 0.587, 0.114])[..., None], 3, axis=2)
    inside = np.abs(image - want).max(axis=2) <= 4
    inside[height // 2 - 4 : height // 2 + 4] = inside[:, width // 2 - 4 : width // 2 + 4] = True  # blurred edges
    assert image.shape == want.shape and inside.all()


BARS = np.array([[(255, 255, 255), (128, 128, 128), (16, 16, 16), (220, 170, 140), (200, 60, 60), (60, 60, 200)]])


def test_hdr_has_the_colours_of_the_same_picture_in_sdr(tmp_path):
    bars = BARS.repeat(16, axis=0).repeat(16, axis=1).astype(np.uint8)
    image = next(frames(hdr(tmp_path / "a.mkv", bars, "hlg"))).image[8, 8::16].astype(int)
    assert np.abs(image - BARS[0]).max() <= 14
    assert np.abs(image[:3] - BARS[0, :3]).max() <= 3  # without conversion the white has 189


def test_only_hdr_is_converted(tmp_path, monkeypatch):
    converted = []  # not really, because FFmpeg needs seconds for its tables
    monkeypatch.setattr(
        video, "_from_hdr", lambda frame, size: converted.append(size) or frame.reformat(format="rgb24")
    )
    for transfer in ("hlg", "pq"):
        list(frames(hdr(tmp_path / f"{transfer}.mkv", quadrants(), transfer)))
    list(frames(write(tmp_path / "sdr.mkv", Video([quadrants()], codec="ffv1", pix_fmt="yuv420p10le"))))
    assert converted == [(64, 48)] * 2


def test_one_thread(tmp_path):
    tasks = Path("/proc/self/task")
    if not tasks.is_dir() or (os.cpu_count() or 1) < 2:
        pytest.skip("needs /proc and two cores")
    path = write(tmp_path / "a.mp4", Video(noise(30, 640, 480)))
    before = len(list(tasks.iterdir()))
    stream = frames(path)
    next(stream)
    assert len(list(tasks.iterdir())) == before


# --- segments


@pytest.mark.parametrize(
    ("name", "codec", "reordered", "gop"),
    [
        ("long_gop.mp4", "libx264", 3, 250),
        ("a.mkv", "libx264", 3, 30),
        ("long_gop.ts", "libx264", 2, 60),  # here a seek lands anywhere, not on key frames
        ("open_gop.ts", "mpeg2video", 2, 60),
        ("bad_index.avi", "mpeg4", 0, 60),  # here it lands where there is nothing to start from
        ("bad_index.avi", "libvpx", 0, 60),
        ("a.avi", "libx264", 2, 30),
    ],
)
def test_a_segment_is_that_part_of_the_whole(tmp_path, name, codec, reordered, gop):
    path = write(tmp_path / name, Video(moving(150), codec=codec, reordered=reordered, gop=gop))
    if name == "bad_index.avi":
        call_all_frames_key_frames(path)
    whole, begin = list(frames(path)), probe(path).begin
    assert len(whole) == 150
    for start, end in [(0, 1), (1.1, 2.0), (2.0, 2.6), (4.04, 9), (3.3, None), (None, 1.2)]:
        first, last = (start or 0) + begin - 1e-6, (9 if end is None else end) + begin - 1e-6
        want = [f for f in whole if first <= f.time < last]
        got = list(frames(path, start=start, end=end))
        assert [f.time for f in got] == [f.time for f in want]
        assert all((a.image == b.image).all() for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "aac"), ("a.ts", "mp2"), ("a.avi", "pcm_s16le"), ("a.mkv", "aac")]
)
def test_a_segment_of_the_sound_keeps_its_place(tmp_path, name, codec):
    path = write(tmp_path / name, Video(moving(150)), Audio([(0, chirp(48000, 6, 4.2))], codec=codec))
    whole = read_audio(path)
    clock = 1 / 16000 + (0.001 if name.endswith("mkv") else 0)  # Matroska's times are whole milliseconds
    at = chirp_time(whole.samples, 16000, whole.start)
    for start, end in [(3.7, 4.7), (4.0, 4.5), (0.3, 5.1)]:
        part = read_audio(path, start=start, end=end)
        assert start <= part.start < start + 1 / 16000
        assert abs(len(part.samples) - (end - start) * 16000) <= 1
        assert chirp_time(part.samples, 16000, part.start) == pytest.approx(at, abs=clock)


def test_a_segment_of_the_sound_has_no_edges_of_its_own(tmp_path):
    # 32 to 16 kHz, so that both resamplings fall on the same instants wherever the seek lands.
    path = write(tmp_path / "a.mp4", audio=Audio([(0, noise_sound(32000, 4))], rate=32000, codec="aac"))
    whole = read_audio(path)
    end_of_block = (79 * 1024 - 2) / 32000
    for start, end in [(2.0, 2.5), (1.5, None), (None, end_of_block)]:
        part = read_audio(path, start=start, end=end)
        first = round((part.start - whole.start) * 16000)
        assert np.abs(part.samples - whole.samples[first : first + len(part.samples)]).max() < 1e-3


def test_a_segment_is_read_alone(tmp_path):
    path = write(tmp_path / "a.mp4", Video(moving(150), gop=25), movflags="faststart")
    want = [frame.image for frame in frames(path, start=4)]
    with av.open(str(path)) as container:
        early = [p for p in container.demux(video=0) if p.size and p.pts * p.time_base < 2]
    data = bytearray(path.read_bytes())
    for packet in early:
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    assert all((frame.image == image).all() for frame, image in zip(frames(path, start=4), want, strict=True))
    with pytest.raises(ClipError):
        list(frames(path))


def test_neighbouring_segments_share_no_sample_and_lose_none(tmp_path):
    path = write(tmp_path / "a.wav", audio=Audio([(0, noise_sound(16000, 4))], rate=16000))
    parts = [read_audio(path, start=a, end=b).samples for a, b in [(None, 0.7), (0.7, 1.3), (1.3, 3.1), (3.1, None)]]
    assert np.array_equal(np.concatenate(parts), read_audio(path).samples)


def test_a_segment_beyond_the_file(tmp_path):
    path = write(tmp_path / "a.mkv", Video(numbered(5)), Audio([(0, noise_sound(48000, 0.2))]))
    for start, end in [(5, 6), (0.1, 0.05)]:
        with pytest.raises(ClipError, match=f"no frame between {start} and {end} s"):
            list(frames(path, start=start, end=end))
        with pytest.raises(ClipError, match=f"no audio between {start} and {end} s"):
            read_audio(path, start=start, end=end)


# --- sound

FORMATS = [
    ("a.wav", "pcm_s16le", 44100),
    ("a.wav", "pcm_u8", 8000),
    ("a.wav", "pcm_s32le", 16000),
    ("a.wav", "pcm_f32le", 48000),
    ("a.wav", "pcm_f64le", 11025),
    ("a.flac", "flac", 44100),
    ("a.mp4", "aac", 44100),
    ("a.mp4", "libmp3lame", 44100),
    ("a.mp3", "libmp3lame", 44100),
    ("a.webm", "libopus", 48000),
]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("name", "codec", "rate"), FORMATS)
def test_sound_lies_where_the_clock_says(tmp_path, name, codec, rate, channels):
    path = write(tmp_path / name, audio=Audio([(0, chirp(rate, 2, 1.0, channels))], rate=rate, codec=codec))
    heard = read_audio(path)
    assert heard.rate == 16000 and heard.samples.dtype == np.float32 and heard.samples.ndim == 1
    # An .mp3 file's clock counts from the encoder's first padding sample.
    began = probe(path).audio_start if name == "a.mp3" else 0.0
    assert heard.start == pytest.approx(began, abs=1e-9)
    assert chirp_time(heard.samples, 16000, heard.start) == pytest.approx(began + 1.0, abs=1 / 16000)
    assert np.abs(heard.samples).max() == pytest.approx(0.797, abs=0.06)
    assert len(heard.samples) == pytest.approx(32000, abs=600)  # a codec's last block


def test_impulse_stays_within_a_sample(tmp_path):
    for rate in (8000, 16000, 44100, 48000):
        impulse = np.zeros((1, 2 * rate))
        impulse[0, rate] = 0.9
        heard = read_audio(write(tmp_path / f"{rate}.wav", audio=Audio([(0, impulse)], rate=rate)))
        assert abs(int(np.argmax(np.abs(heard.samples))) - 16000) <= 1


def test_16_khz_is_untouched_and_stereo_is_the_mean(tmp_path):
    left, right = (np.random.default_rng(i).integers(-30000, 30000, 16000) for i in (1, 2))
    path = write(tmp_path / "a.wav", audio=Audio([(0, np.stack([left, right]) / 32768)], rate=16000))
    assert np.allclose(read_audio(path).samples, (left + right) / 65536, atol=1e-7)


def test_samples_stay_in_range(tmp_path):
    path = write(tmp_path / "a.wav", audio=Audio([(0, np.full((1, 1600), 1.7))], rate=16000, codec="pcm_f32le"))
    assert read_audio(path).samples.max() == 1.0


def test_samples_that_are_not_numbers(tmp_path):
    broken = noise_sound(16000, 1)
    broken[0, 500] = np.nan
    path = write(tmp_path / "a.wav", audio=Audio([(0, broken)], rate=16000, codec="pcm_f32le"))
    with pytest.raises(ClipError, match="not numbers"):
        read_audio(path)


def test_a_hole_in_the_sound_shifts_nothing(tmp_path):
    pieces = [(0, noise_sound(48000, 0.5) * 0.1), (1.0, chirp(48000, 0.5, 0.25))]
    heard = read_audio(write(tmp_path / "a.mkv", audio=Audio(pieces)))
    assert len(heard.samples) == pytest.approx(1.5 * 16000, abs=1)
    assert chirp_time(heard.samples, 16000, heard.start) == pytest.approx(1.25, abs=0.001)
    assert np.abs(heard.samples[8100:15900]).max() < 1e-3


def test_jitter_of_the_times_is_no_hole(tmp_path):
    samples = noise_sound(48000, 0.4)
    pieces = [(0, samples[:, :9600]), (0.22, samples[:, 9600:])]  # 20 ms late
    heard = read_audio(write(tmp_path / "a.mkv", audio=Audio(pieces)))
    straight = read_audio(write(tmp_path / "b.mkv", audio=Audio([(0, samples)])))
    assert np.array_equal(heard.samples, straight.samples)


def test_a_broken_clock_of_the_sound(tmp_path):
    pieces = [(0, noise_sound(8000, 0.3)), (1000, noise_sound(8000, 0.3))]
    with pytest.raises(ClipError, match=r"jump 999\.7"):
        read_audio(write(tmp_path / "a.mkv", audio=Audio(pieces, rate=8000)))


# --- what a clip holds


def test_picture_without_sound(tmp_path):
    path = write(tmp_path / "a.mp4", Video(numbered(5)))
    seen = probe(path)
    assert seen.has_video and not seen.has_audio
    assert (seen.width, seen.height, seen.rotation, seen.audio_rate) == (64, 48, 0, 0)
    assert (seen.video_start, seen.video_duration, seen.frame_rate) == pytest.approx((0, 0.2, 25))
    assert np.isnan([seen.audio_start, seen.audio_duration]).all()
    with pytest.raises(ClipError, match="no audio stream"):
        read_audio(path)


def test_sound_without_picture(tmp_path):
    path = write(tmp_path / "a.wav", audio=Audio([(0, noise_sound(44100, 0.5))], rate=44100))
    seen = probe(path)
    assert seen.has_audio and not seen.has_video
    assert (seen.audio_rate, seen.audio_start, seen.audio_duration, seen.width) == (44100, 0, 0.5, 0)
    assert np.isnan([seen.video_start, seen.video_duration, seen.frame_rate]).all()
    with pytest.raises(ClipError, match="no video stream"):
        next(frames(path))


def test_cover_picture_is_no_video(tmp_path):
    path = with_cover(tmp_path / "a.mp3", Audio([(0, chirp(44100, 1, 0.5))], rate=44100, codec="libmp3lame"))
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1  # the cover
    assert probe(path).has_audio and not probe(path).has_video
    with pytest.raises(ClipError, match="no video stream"):
        next(frames(path))


# --- hostile files


def everything(path: Path) -> None:
    """What the pipeline does with a clip."""
    seen = probe(path)
    if seen.has_video:
        list(frames(path))
    if seen.has_audio:
        read_audio(path)


def whole_clip(path: Path, **options: str) -> Path:
    """Two seconds of noise, picture and sound."""
    codecs = {".webm": ("libvpx", "libopus"), ".avi": ("mpeg4", "pcm_s16le"), ".flv": ("flv", "aac")}
    picture, voice = codecs.get(path.suffix, ("libx264", "aac"))
    video = Video(noise(50), codec=picture)
    rate = 44100 if path.suffix == ".flv" else 48000
    return write(path, video, Audio([(0, noise_sound(rate, 2))], rate=rate, codec=voice), **options)


def middle_of_a_picture(path: Path) -> int:
    """A place in the file inside the coded picture at 1 s."""
    with av.open(str(path)) as container:
        return next(p.pos + p.size // 2 for p in container.demux(video=0) if p.dts * p.time_base >= 1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.ts", "a.avi", "a.flv", "a.mov"])
def test_a_file_cut_in_the_middle(tmp_path, name):
    path = whole_clip(tmp_path / name, **({"movflags": "faststart"} if name.endswith(("mp4", "mov")) else {}))
    everything(path)
    data = path.read_bytes()
    path.write_bytes(data[: middle_of_a_picture(path)])
    stream = frames(path)
    assert number(next(stream).image) >= 0  # what comes before the damage is given out
    with pytest.raises(ClipError, match=rf"^{name}: (damaged|cut short|Invalid data|\[Errno)"):
        list(stream)
    with pytest.raises(ClipError):
        everything(path)


def test_a_file_cut_in_a_packet_of_the_sound(tmp_path):
    path = whole_clip(tmp_path / "a.avi")
    with av.open(str(path)) as container:
        middle = next(p.pos + p.size // 2 for p in container.demux(audio=0) if p.dts * p.time_base >= 1)
    path.write_bytes(path.read_bytes()[:middle])
    for read in (read_audio, lambda path: list(frames(path))):
        with pytest.raises(ClipError, match="damaged or cut short at"):
            read(path)


def test_mp4_without_its_index(tmp_path):
    path = whole_clip(tmp_path / "a.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(ClipError, match=r"^a.mp4: Invalid data"):
        everything(path)


def test_garbage_packets(tmp_path):
    path = whole_clip(tmp_path / "a.mp4", movflags="faststart")
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + len(data)) // 2
    data[middle:] = np.random.default_rng(2).bytes(len(data) - middle)
    path.write_bytes(data)
    with pytest.raises(ClipError, match=r"^a.mp4: "):
        everything(path)


def test_a_stream_without_a_frame(tmp_path):
    path = tmp_path / "a.mkv"
    write(path, Video(numbered(2), codec="ffv1"))
    data = path.read_bytes()
    cluster = data.index(bytes.fromhex("1f43b675"))
    path.write_bytes(data[:cluster])
    with pytest.raises(ClipError, match=r"^a.mkv: "):
        everything(path)


HOSTILE = {
    "empty.mp4": (b"", "the file is empty"),
    "text.mp4": (b"Once upon a time\n" * 200, "Invalid data"),
    "zeros.mp4": (bytes(100_000), "Invalid data"),
    "random.mkv": (np.random.default_rng(3).bytes(200_000), "Invalid data"),
    "list.mp4": (b"ffconcat version 1.0\nfile real.wav\n", "format that is read"),
    "hls.m3u8": (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nreal.wav\n#EXT-X-ENDLIST\n",
        "format that is read|Invalid",
    ),
    "subtitles.srt": (b"1\n00:00:00,000 --> 00:00:01,000\nhello\n", "format that is read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(tmp_path, name):
    write(tmp_path / "real.wav", audio=Audio([(0, noise_sound(16000, 0.1))], rate=16000))
    content, reason = HOSTILE[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ClipError, match=rf"^{name}: .*({reason})"):
        everything(tmp_path / name)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, reason in [("absent.mp4", "no such file"), (".", "not a regular"), ("pipe.mp4", "not a regular")]:
        with pytest.raises(ClipError, match=reason):
            everything(tmp_path / name)


@pytest.mark.parametrize("fault", ["stat", "open", "content"])
def test_a_fault_of_the_machine_is_not_the_clips(tmp_path, monkeypatch, fault):
    path = write(tmp_path / "a.mp4", Video(numbered(3)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ClipError) as error:
        everything(path)
    assert not isinstance(error.value, TransientError)  # damage

    def broken(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    if fault == "stat":
        monkeypatch.setattr(Path, "is_file", broken)
    elif fault == "open":
        monkeypatch.setattr("av.open", partial(fail, av.PermissionError(errno.EACCES, "Permission denied")))
    else:  # FFmpeg reports damage
        monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(TransientError, match=r"^a\.mp4: (Input/output error|Permission denied)$"):
        everything(path)


def fail(error, *args, **kwargs):
    raise error


def test_strange_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a|b %03d.mp4", "http:a.mp4", "žluťoučký kůň.mp4", "#?&.mp4", "-"):
        write(Path("a.mp4"), Video(numbered(3))).rename(name)
        assert len(list(frames(name))) == 3


# --- real clips


@pytest.mark.realdata
@pytest.mark.parametrize("row", [0, 130])
def test_real_clips(javsed, row):
    with (javsed / "manifest.csv").open() as file:
        known = list(csv.DictReader(file))[row]
    path = javsed / known["path"]
    seen = probe(path)
    assert (seen.width, seen.height, seen.rotation) == (int(known["width"]), int(known["height"]), 0)
    assert seen.audio_rate == 44100
    assert seen.frame_rate == pytest.approx(float(Fraction(known["fps"])))
    assert seen.video_duration == pytest.approx(float(known["dur_video"]), abs=0.002)
    pictures = list(frames(path))
    capture = cv2.VideoCapture(str(path))
    reference = []
    while (read := capture.read())[0]:
        reference.append(read[1][..., ::-1])
    assert len(pictures) == len(reference)
    difference = [np.abs(a.image.astype(int) - b).mean() for a, b in zip(pictures, reference, strict=True)]
    assert max(difference) < 3
    times = np.array([frame.time for frame in pictures])
    assert np.all(np.diff(times) > 0)
    assert times[-1] + 1 / seen.frame_rate - times[0] == pytest.approx(float(known["dur_video"]), abs=0.002)
    heard = read_audio(path)
    assert len(heard.samples) / heard.rate == pytest.approx(float(known["dur_audio"]), abs=0.002)
    assert 0.001 < np.sqrt(np.mean(heard.samples**2)) < 0.5
