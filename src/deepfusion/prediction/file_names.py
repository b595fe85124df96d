"""Names of files that belong to a clip."""

import hashlib
import re


def file_name(clip_id: str) -> str:
    """A clip's id as a relative path without suffix; characters that are unsafe in file names are replaced."""
    parts = [re.sub(r"[^\w.\-+@ ()]", "_", part).lstrip(".").strip() or "_" for part in clip_id.split("/")]
    name = "/".join(part[:100] for part in parts)
    # Different ids must not share a file, not even where case is ignored.
    if name != clip_id or name != name.lower():
        name += f"-{hashlib.sha256(clip_id.encode()).hexdigest()[:6]}"
    return name
