"""A clip's frames and audio, streamed, on the clip's own clock.

Every time is a presentation time in seconds on the clock of the container, where it may start at any value;
frames and audio share it. Nothing is computed from a frame index: a variable frame rate is kept.

Damage is never skipped: a stream that FFmpeg reports as damaged, out of order or cut short raises one `ClipError` at
that point. Earlier frames may already have been yielded; the caller drops the clip.
"""

from deepfusion.media.audio import Audio, read_audio
from deepfusion.media.limits import DEFAULT_LIMITS, Limits
from deepfusion.media.probing import Probe, probe, probe_audio, probe_video
from deepfusion.media.video import Frame, frames

__all__ = [
    "DEFAULT_LIMITS",
    "Audio",
    "Frame",
    "Limits",
    "Probe",
    "frames",
    "probe",
    "probe_audio",
    "probe_video",
    "read_audio",
]
