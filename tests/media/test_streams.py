"""Files whose streams are odd: their order, their number, their damage, their size, their phase."""

import wave

import av
import numpy as np
import pytest
from mediafiles import Audio, Video, chirp, chirp_time, number, numbered, remux, write

from deepfusion.errors import ClipError
from deepfusion.media import Limits, frames, probe, probe_audio, probe_video, read_audio
from deepfusion.media.container import _packets

RATE = 48000


def tone(seconds=1.2, channels=2, pitch=220.0):
    t = np.arange(round(seconds * RATE)) / RATE
    return np.repeat(0.3 * np.sin(2 * np.pi * pitch * t)[None], channels, axis=0)


def clip(path, *, reordered=3):
    return write(path, Video(numbered(30), reordered=reordered), Audio([(0, tone())], codec="aac"))


@pytest.mark.parametrize("order", [("audio", "video"), ("video", "audio")])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_the_last_frames_do_not_depend_on_the_order_of_the_streams(tmp_path, order, suffix):
    path = remux(clip(tmp_path / "a.mp4"), tmp_path / f"b{suffix}", order=order)
    found = [(number(frame.image), frame.time) for frame in frames(path)]
    assert [i for i, _ in found] == list(range(30))
    first = found[0][1]  # Matroska begins where the audio's padding does
    assert [time - first for _, time in found] == pytest.approx([i / 25 for i in range(30)], abs=0.003)
    assert len(read_audio(path).samples) == pytest.approx(1.2 * 16000, abs=2048)


def test_a_timecode_track_is_passed_over(tmp_path):
    path = remux(clip(tmp_path / "a.mp4"), tmp_path / "b.mp4", order=("video", "audio"), timecode=True)
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio", "data"]
    assert len(list(frames(path))) == 30
    assert len(read_audio(path).samples) > 1.1 * 16000


def test_one_frame_after_the_audio(tmp_path):
    source = write(tmp_path / "a.mp4", Video(numbered(1)), Audio([(0, tone(0.2))], codec="aac"))
    assert len(list(frames(remux(source, tmp_path / "b.mp4", order=("audio", "video"))))) == 1


def test_audio_that_is_noise_leaves_the_video(tmp_path):
    path = clip(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux() if p.stream.type == "audio" and p.size]
    data = bytearray(path.read_bytes())
    for at, size in places:
        data[at : at + size] = np.random.default_rng(at).bytes(size)
    path.write_bytes(data)
    assert len(list(frames(path))) == 30
    assert probe_video(path).has_video
    with pytest.raises(ClipError):
        read_audio(path)
    with pytest.raises(ClipError):
        probe_audio(path)
    with pytest.raises(ClipError):
        probe(path)


def test_each_probe_looks_at_its_own_stream(tmp_path):
    path = clip(tmp_path / "a.mp4")
    assert (probe_video(path).has_video, probe_video(path).has_audio) == (True, False)
    assert (probe_audio(path).has_video, probe_audio(path).has_audio) == (False, True)


@pytest.mark.parametrize("gain", [-1.0, -0.95])
def test_channels_in_opposite_phase_are_heard(tmp_path, gain):
    left = tone(channels=1)
    path = write(tmp_path / "a.wav", audio=Audio([(0, np.concatenate([left, gain * left]))]))
    heard = read_audio(path)
    assert np.abs(heard.samples).max() == pytest.approx(0.3, abs=0.01)
    assert heard.note == "the channels cancel each other out: channel 1 of 2 is used"


def test_other_stereo_is_the_mean_without_a_note(tmp_path):
    left, right = tone(channels=1), tone(channels=1, pitch=330)
    heard = read_audio(write(tmp_path / "a.wav", audio=Audio([(0, np.concatenate([left, right]))])))
    assert heard.note == ""
    assert read_audio(write(tmp_path / "b.wav", audio=Audio([(0, np.zeros((2, 9600)))]))).note == ""


def test_a_segment_is_judged_by_its_own_phase(tmp_path):
    left = tone(2.0, channels=1)
    right = np.where(np.arange(left.shape[1]) < RATE, -left, left)
    path = write(tmp_path / "a.wav", audio=Audio([(0, np.concatenate([left, right]))]))
    assert "cancel" in read_audio(path, end=0.9).note
    assert read_audio(path, start=1.1).note == ""


@pytest.mark.parametrize("channel", ["FL", "FC", "LFE", "BR"])
def test_surround_is_mixed_to_stereo_without_the_low_frequency_channel(tmp_path, channel):
    voice = tone(channels=1)
    places = ["FL", "FR", "FC", "LFE", "BL", "BR"]
    samples = np.concatenate([voice if place == channel else 0 * voice for place in places])
    path = write(tmp_path / "a.wav", audio=Audio([(0, samples)], layout="5.1"))
    weight = {"FL": 0.5, "FC": np.sqrt(0.5), "LFE": 0, "BR": np.sqrt(0.5) / 2}[channel]  # in the mean of left and right
    heard, alone = read_audio(path), read_audio(write(tmp_path / "b.wav", audio=Audio([(0, voice)])))
    assert heard.samples == pytest.approx(weight * alone.samples, abs=1e-4) and heard.note == ""


def test_channels_of_an_unknown_layout_are_averaged_with_a_note(tmp_path):
    samples = np.zeros((RATE, 6), np.int16)
    samples[:, 2] = 12000
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((6, 2, RATE, RATE, "NONE", ""))
        file.writeframes(samples.tobytes())
    heard = read_audio(tmp_path / "a.wav")
    assert heard.note == "6 channels of an unknown layout: their plain mean is used"
    assert np.median(heard.samples) == pytest.approx(12000 / 32768 / 6, abs=1e-4)


def test_a_stream_that_appears_late_in_the_file_changes_nothing(tmp_path):
    """Its packets are no part of PyAV's list of streams, over which it fails or not, by chance."""
    noise = list(np.random.default_rng(0).integers(0, 255, (30, 480, 640, 3), np.uint8))
    video = Video(noise, codec="mpeg2video", gop=1, options={"qmin": "1", "qmax": "2"})
    early = write(tmp_path / "early.mpg", video)
    assert early.stat().st_size > 6_000_000  # more than FFmpeg looks at
    late = write(tmp_path / "late.mpg", Video(numbered(5), codec="mpeg2video"), Audio([(0, tone(0.2))], codec="mp2"))
    path = tmp_path / "both.mpg"
    path.write_bytes(early.read_bytes() + late.read_bytes() + early.read_bytes())  # FFmpeg looks at the end, too
    with av.open(str(path)) as container:
        (stream,) = container.streams
        seen = 0
        for packet in _packets(Late(container), stream, path):
            seen += bool(packet.size)
        assert len(container.streams) == 1 and seen >= 30


class Late:
    """A container whose `demux` fails after the last packet of the first stream, as it may with a late stream."""

    def __init__(self, container):
        self.format, self.duration, self._demux = container.format, container.duration, container.demux

    def demux(self):
        for packet in self._demux():
            yield packet
            if not packet.size:
                raise IndexError("list index out of range")


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "libx264"), ("a.mpg", "mpeg2video")])
def test_a_segment_counts_from_the_beginning_of_a_file_whose_clock_starts_anywhere(tmp_path, name, codec):
    later = 20.0 if name == "a.ts" else 0.0  # a program stream starts where its muxer says, at 0.5 s
    times = [later + i / 25 for i in range(25)] if later else None
    sound = Audio([(later, chirp(RATE, 1, 0.5))], codec="mp2")
    path = write(tmp_path / name, Video(numbered(25), codec=codec, times=times), sound)
    found = probe(path)
    assert found.begin == min(found.video_start, found.audio_start) > 0.4
    shift = found.video_start - found.begin
    part = list(frames(path, start=0.2 + shift - 0.01, end=0.4 + shift - 0.01))
    assert [number(frame.image) for frame in part] == [5, 6, 7, 8, 9]
    assert part[0].time == pytest.approx(found.video_start + 0.2, abs=1e-4)  # on the clock of the file
    heard = read_audio(path, start=0.3, end=0.7)
    assert heard.start == pytest.approx(found.begin + 0.3, abs=1e-4)
    assert chirp_time(heard.samples, 16000, heard.start) == pytest.approx(found.video_start + 0.5, abs=0.001)


@pytest.mark.parametrize("codec", ["libopus", "flac"])
def test_eight_channels(tmp_path, codec):
    path = tmp_path / "a.mka"
    samples = np.repeat(chirp(RATE, 0.2, 0.1), 8, axis=0).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.layout = "7.1"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T).reshape(1, -1), format="flt", layout="7.1")
        frame.rate, frame.pts = RATE, 0
        resampler = av.AudioResampler(
            stream.format, stream.layout, RATE, frame_size=stream.codec_context.frame_size or 960
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    heard = read_audio(path)
    assert len(heard.samples) == pytest.approx(0.2 * 16000, abs=700)
    assert np.abs(heard.samples).max() > 0.3


def test_a_frame_over_the_limit_is_refused_before_it_is_decoded(tmp_path):
    path = write(tmp_path / "a.mp4", Video([np.zeros((480, 640, 3), np.uint8)] * 2, codec="png", pix_fmt="rgb24"))
    small = Limits(pixels=300_000)
    for read in (lambda: list(frames(path, limits=small)), lambda: probe_video(path, small)):
        with pytest.raises(ClipError, match=r"a frame of 640 x 480 px is over the limit .*\(limits\.pixels: 300000 "):
            read()
    assert len(list(frames(path, limits=Limits(pixels=307_200)))) == 2


def test_silence_is_bounded_in_all(tmp_path):
    pieces = [(20.0 * i, tone(0.1, channels=1)) for i in range(5)]
    path = write(tmp_path / "a.mkv", audio=Audio(pieces))
    assert len(read_audio(path, limits=Limits(silence_s=80)).samples) > 80 * 16000
    with pytest.raises(ClipError, match=r"limit of 70 s \(limits\.silence_s: 70"):
        read_audio(path, limits=Limits(silence_s=70))


@pytest.mark.parametrize("name", ["img%d.jpg", "img001.png", "list.txt", "list.mp4", "a.m3u8", "a.mp4", "a.sdp"])
def test_what_points_to_other_files_opens_none(tmp_path, name):
    clip(tmp_path / "secret.mp4")
    write(tmp_path / "img1.jpg", Video(numbered(1), codec="mjpeg", pix_fmt="yuvj420p"), format="image2", update="1")
    texts = {
        "list.txt": "ffconcat version 1.0\nfile secret.mp4\n",
        "list.mp4": "ffconcat version 1.0\nfile secret.mp4\n",
        "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "a.mp4": "Once upon a time\n" * 300,
        "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    }
    path = tmp_path / name
    path.write_bytes(texts[name].encode() if name in texts else (tmp_path / "img1.jpg").read_bytes())
    with pytest.raises(ClipError):
        list(frames(path))
    with pytest.raises(ClipError):
        read_audio(path)
