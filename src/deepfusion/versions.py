"""The version of each stage's code, a part of its cache keys; versions of installed packages.

Raise the version of a stage when the stage's results change, whether by its own code or by the media code that it uses.
"""

from importlib import metadata

ENCODER = "AF"  # stage of the audio encoder, and in the store the group of its positions
VERSIONS = {"faces": 9, "networks": 2, "spectrogram": 4, "audio_encoder": 1, "derived": 1, "fusion": 8}


def installed_version(name: str) -> str | None:
    """Version of an installed package; None without it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
