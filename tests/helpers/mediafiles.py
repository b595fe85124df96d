"""Media files with known content, written with PyAV."""

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)


@dataclass
class Video:
    """Pictures [(H, W, 3) uint8] shown at `times` (s, default 25 a second)."""

    images: list
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    times: list | None = None
    reordered: int = 0
    gop: int = 12
    aspect: Fraction = Fraction(1)
    options: dict = field(default_factory=dict)


@dataclass
class Audio:
    """Sound in pieces [(time s, (channels, n) float)]: what lies between them is a hole."""

    pieces: list
    rate: int = 48000
    codec: str = "pcm_s16le"
    format: str = ""
    layout: str = ""


def write(path: Path, video: Video | None = None, audio: Audio | None = None, **options: str) -> Path:
    """Write a file; `options` are the container's."""
    with av.open(str(path), "w", options=options) as container:
        packets = []
        video_stream = video and _video_stream(container, video)
        audio_stream = audio and _audio_stream(container, audio)
        if video:
            packets += _encode_video(video_stream, video)
        if audio:
            packets += _encode_audio(audio_stream, audio)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def _video_stream(container, video):
    stream = container.add_stream(video.codec, rate=25, options=video.options)
    height, width = video.images[0].shape[:2]
    stream.width, stream.height, stream.pix_fmt = width, height, video.pix_fmt
    stream.codec_context.time_base = MILLISECOND if video.times else Fraction(1, 25)
    stream.codec_context.max_b_frames = video.reordered
    stream.codec_context.gop_size = video.gop
    stream.codec_context.thread_count = 1  # the same pictures, however busy the cores are
    stream.codec_context.sample_aspect_ratio = video.aspect
    return stream


def _encode_video(stream, video):
    for i, image in enumerate(video.images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        if video.pix_fmt != "rgb24":
            frame = frame.reformat(format=video.pix_fmt, dst_colorspace="ITU601")
        frame.time_base = stream.codec_context.time_base
        frame.pts = round(video.times[i] / frame.time_base) if video.times else i
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _audio_stream(container, audio):
    stream = container.add_stream(audio.codec, rate=audio.rate)
    stream.layout = audio.layout or ("mono" if len(audio.pieces[0][1]) == 1 else "stereo")
    if audio.format:
        stream.format = audio.format
    return stream


def _encode_audio(stream, audio):
    context = stream.codec_context
    layout = context.layout.name
    size = context.frame_size or 1000
    convert = av.AudioResampler(format=context.format.name, layout=layout, rate=audio.rate)
    for time, samples in audio.pieces:
        for first in range(0, samples.shape[1], size):
            block = np.ascontiguousarray(samples[:, first : first + size], np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.time_base = audio.rate, Fraction(1, audio.rate)
            frame.pts = round(time * audio.rate) + first
            for converted in convert.resample(frame):
                yield from stream.encode(converted)
    yield from stream.encode(None)


def remux(source: Path, target: Path, *, order: tuple[str, ...], timecode: bool = False) -> Path:
    """The same packets with the streams in another order, and (mov, mp4) with a data track as cameras write it."""
    with av.open(str(source)) as container:
        kinds = {stream.type: stream for stream in container.streams}
        packets = [packet for packet in container.demux() if packet.dts is not None]
        with av.open(str(target), "w") as out:
            if timecode:
                out.metadata["timecode"] = "10:00:00:00"
            copies = {kind: out.add_stream_from_template(kinds[kind]) for kind in order}
            for packet in packets:
                packet.stream = copies[packet.stream.type]
                out.mux(packet)
    return target


def numbered(n: int, width: int = 64, height: int = 48) -> list:
    """Pictures that tell their number (below 50) by their grey level; see `number`."""
    return [np.full((height, width, 3), 5 + 5 * i, np.uint8) for i in range(n)]


def number(image: np.ndarray) -> int:
    """Which of the `numbered` pictures this is."""
    return round((float(image.mean()) - 5) / 5)


def quadrants(width: int = 64, height: int = 48) -> np.ndarray:
    """A picture without symmetry: red, green / blue, white."""
    image = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    image[:h, :w], image[:h, w:], image[h:, :w], image[h:, w:] = (
        (220, 30, 30),
        (30, 200, 30),
        (30, 30, 220),
        (240, 240, 240),
    )
    return image


def chirp(rate: int, length: float, at: float, channels: int = 1) -> np.ndarray:
    """Silence with a short chirp (300 to 3000 Hz, 50 ms) whose middle is at `at` s; (channels, n)."""
    t = np.arange(round(length * rate)) / rate - at
    sweep = np.sin(2 * np.pi * (1650 * t + 0.5 * 54000 * t**2)) * np.exp(-((t / 0.012) ** 2)) * 0.8
    return np.repeat(sweep[None], channels, axis=0)


def chirp_time(samples: np.ndarray, rate: int, start: float) -> float:
    """When the chirp is heard: the peak of the correlation with it, s."""
    reference = chirp(rate, 0.1, 0.05)[0]
    peak = int(np.argmax(np.correlate(samples, reference, "valid")))
    return start + peak / rate + 0.05


def hdr(path: Path, image: np.ndarray, transfer: str) -> Path:
    """An SDR picture (H, W, 3) uint8, even sides, as a frame of HDR video: BT.2020, 10 bits, "pq" or "hlg".

    SDR white has 203 cd/m2 (ITU-R BT.2408); HLG for a display of 1000 cd/m2.
    """
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    luma = np.array([0.2627, 0.6780, 0.0593])
    light = 203 * (image / 255) ** 2.4 @ to_2020.T  # cd/m2
    if transfer == "pq":
        y = (light / 10_000) ** 0.1593017578125
        signal = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    else:
        light = light / 1000
        scene = light * np.maximum(light @ luma, 1e-9)[..., None] ** (-0.2 / 1.2)
        log = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), log)
    y = signal @ luma
    blue, red = (signal[..., 2] - y) / 1.8814, (signal[..., 0] - y) / 1.4746
    frame = av.VideoFrame(image.shape[1], image.shape[0], "yuv420p10le")
    for plane, values in zip(
        frame.planes, (64 + 876 * y, 512 + 896 * blue[::2, ::2], 512 + 896 * red[::2, ::2]), strict=True
    ):
        rows = np.zeros((values.shape[0], plane.line_size // 2), "<u2")
        rows[:, : values.shape[1]] = values.round()
        plane.update(rows.tobytes())
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries = {"pq": 16, "hlg": 18}[transfer], 9
        context.colorspace, context.color_range = 9, 1
        frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = context.color_trc, 9, 9, 1
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a b c d (16.16 fixed point in the file) into the first track header of an mp4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 20] = struct.pack(">5i", a, b, 0, c, d)
    path.write_bytes(data)


def call_all_frames_key_frames(path: Path) -> None:
    """Set the key frame flag of every entry in an AVI's index, as careless writers do."""
    data = bytearray(path.read_bytes())
    index = data.rindex(b"idx1")
    (size,) = struct.unpack_from("<I", data, index + 4)
    for entry in range(index + 8, index + 8 + size, 16):
        data[entry + 4] |= 0x10
    path.write_bytes(data)


def packed_avi(path: Path, n: int = 20) -> Path:
    """MPEG-4 as DivX and XviD put it into AVI: a B frame in one packet with the frame after it.

    The packet where it would have been holds an empty picture ("not coded").
    """
    encoder = av.CodecContext.create("mpeg4", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), 25
    encoder.max_b_frames, encoder.gop_size = 1, 100
    coded = list(_encode_video_with(encoder, numbered(n)))
    packed, i = [], 0
    while i < len(coded):
        if i + 1 < len(coded) and coded[i + 1].pts < coded[i].pts:
            packed += [bytes(coded[i]) + bytes(coded[i + 1]), b"\x00\x00\x01\xb6\x50\x00\x00"]
            i += 2
        else:
            packed.append(bytes(coded[i]))
            i += 1
    packed[0] = b"\x00\x00\x01\xb2DivX503b1393p\x00" + packed[0]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
        for i, data in enumerate(packed):
            container.mux(_packet(stream, data, pts=i, dts=i, time_base=Fraction(1, 25), key=i == 0))
    return path


def _encode_video_with(encoder, images):
    for i, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = i, Fraction(1, 25)
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def mjpeg_mkv(path: Path, times_ms: list[int]) -> Path:
    """Every picture a packet of its own, with exactly these times in the file, in this order."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuvj420p"
    encoder.time_base = MILLISECOND
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.time_base = MILLISECOND
        container.start_encoding()
        for i, (time, image) in enumerate(zip(times_ms, numbered(len(times_ms)), strict=True)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = i, MILLISECOND
            for packet in encoder.encode(frame):
                container.mux(_packet(stream, bytes(packet), pts=time, dts=i, time_base=MILLISECOND, key=True))
    return path


def _packet(stream, data, *, pts, dts, time_base, key):
    packet = av.Packet(data)
    packet.stream, packet.pts, packet.dts, packet.time_base = stream, pts, dts, time_base
    packet.is_keyframe = key
    return packet


def with_cover(path: Path, audio: Audio) -> Path:
    """An mp3 file with a cover picture (an ID3v2.3 tag with an APIC frame)."""
    write(path, audio=audio)
    cover = av.CodecContext.create("png", "w")
    cover.width, cover.height, cover.pix_fmt, cover.time_base = 64, 48, "rgb24", Fraction(1, 25)
    picture = b"".join(bytes(p) for p in cover.encode(av.VideoFrame.from_ndarray(quadrants(), format="rgb24")))
    picture += b"".join(bytes(p) for p in cover.encode(None))
    body = b"\x00image/png\x00\x03\x00" + picture
    frame = b"APIC" + struct.pack(">IH", len(body), 0) + body
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\x00\x00" + size + frame + path.read_bytes())
    return path
