"""Download weight files: an interrupted download resumes, and no file is used before its hash is verified.

If the publisher states no hash, the first download is trusted and its hash is stored in `weights.lock.json`; later
files must match it. A partial download is `<name>.part` in the same folder, with the server's headers in
`<name>.part.json`; a file under its own name is complete and verified.
"""

import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

from deepfusion.atomic import write_atomically
from deepfusion.cache_key import file_sha256
from deepfusion.errors import UserError
from deepfusion.networks.catalogue import Network
from deepfusion.progress import track

log = logging.getLogger(__name__)

LOCK = "weights.lock.json"
AGENT = "deepfusion (weights of face networks)"
TIMEOUT = 60
"""Seconds without a byte after which the connection counts as lost."""
ATTEMPTS = 4
BACK_OFF = 2.0
"""Seconds before the second attempt; doubled before each further one."""
CHUNK = 1_000_000


class _InterruptedError(Exception):
    """The connection failed, or the server is busy: another attempt may succeed."""


def fetch(card: Network, folder: Path) -> Path:
    """Download a network's weights, unless they are there and verified.

    Args:
        card: of the network.
        folder: for the file and `weights.lock.json`; made if absent.

    Returns:
        The file.

    Raises:
        UserError: the download fails, or the file's hash differs from the published or locked one. A partial download
            is kept, and the next call resumes it.
    """
    if not card.address:
        raise UserError(f"{card.name}: nothing to download: its weights come from: {card.source}")
    path, lock = folder / card.file, folder / LOCK
    if path.is_file():
        _verify(card, path, lock, mend=f"delete {path} to download it again, or")
        log.info("%s: %s is there and verified", card.name, path)
        return path
    _json(lock)  # detects a damaged file before the download
    log.info("%s: %s\nlicence: %s\ncite: %s", card.name, card.address, card.licence, card.citation)
    folder.mkdir(parents=True, exist_ok=True)
    part, headers = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
    _download(card, part, headers)
    try:
        _verify(card, part, lock, mend="it is not kept; try again later, or")
    except UserError:
        part.unlink()
        headers.unlink()
        raise
    part.replace(path)
    headers.unlink()
    return path


def _verify(card: Network, path: Path, lock: Path, *, mend: str) -> None:
    """Compare a file with the published or the locked hash; lock the hash of a first download."""
    found = file_sha256(path)
    if card.sha256:
        if found != card.sha256:
            raise UserError(
                f"{card.name}: {path} has sha256 {found}, published is {card.sha256}: another or a damaged file; "
                f"{mend} ask where it was taken from: {card.source}"
            )
        return
    locked = _json(lock)
    entry = locked.get(card.name)
    if entry is None:
        entry = {"address": card.address, "sha256": found, "size": path.stat().st_size}
        locked[card.name] = entry | {"first_use": datetime.now(UTC).date().isoformat()}
        write_atomically(lock, lambda part: part.write_text(json.dumps(locked, indent=1) + "\n"))
        log.info("%s: no hash is published; sha256 %s is kept in %s", card.name, found, lock)
    elif found != entry["sha256"]:
        raise UserError(
            f"{card.name}: {path} has sha256 {found}, at its first use on {entry['first_use']} it was "
            f"{entry['sha256']}: another or a damaged file; {mend} delete the entry '{card.name}' in {lock} to "
            "accept it"
        )


def _json(path: Path) -> dict:
    try:
        return dict(json.loads(path.read_text())) if path.exists() else {}
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}): mend or delete it") from error


def _download(card: Network, part: Path, headers: Path) -> None:
    """Download the whole file to `part`, in several attempts."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACK_OFF * 2 ** (attempt - 1))
        try:
            return _transfer(card, part, headers)
        except _InterruptedError as error:
            problem = error
            log.warning("%s: %s", card.name, error)
    kept = f"; {part} is kept and the next call resumes it" if part.exists() else ""
    raise UserError(f"{card.name}: {card.address}: {problem}, {ATTEMPTS} attempts: check the network{kept}")


def _transfer(card: Network, part: Path, headers: Path) -> None:
    """One attempt: resume if the server still has the same file, else start over."""
    known = _json(headers) if part.exists() else {}
    begin = part.stat().st_size if known.get("address") == card.address else 0
    if begin and begin == known["size"]:
        return
    answer = _answer(card, begin)
    if begin and answer.status != http.HTTPStatus.OK and not _goes_on(card, answer, begin, known):
        log.info("%s: the file has changed since the download began: it starts over", card.name)
        answer.close()
        answer = _answer(card, 0)
    with answer:
        what = _said(card, answer)
        if answer.status == http.HTTPStatus.OK:  # the whole file, even if only the rest was requested
            begin = 0
            part.unlink(missing_ok=True)
            write_atomically(headers, lambda file: file.write_text(json.dumps(what)))
        with part.open("ab") as file:
            for at in track(range(begin, what["size"], CHUNK), card.name, unit="MB"):
                wanted = min(CHUNK, what["size"] - at)
                data = _read(answer, wanted)
                file.write(data)
                if len(data) < wanted:
                    raise _InterruptedError(f"the answer ended after {at + len(data)} of {what['size']} bytes")
            file.flush()
            os.fsync(file.fileno())


def _goes_on(card: Network, answer: http.client.HTTPResponse, begin: int, known: dict) -> bool:
    """Whether an answer continues the known file from `begin`."""
    return (
        answer.status == http.HTTPStatus.PARTIAL_CONTENT
        and answer.headers.get("Content-Range", "").startswith(f"bytes {begin}-")
        and _said(card, answer) == known
    )


def _answer(card: Network, begin: int) -> http.client.HTTPResponse:
    """The server's answer to the request for the bytes from `begin` on: 200, 206 or, beyond the file's end, 416."""
    request = urllib.request.Request(card.address, headers={"User-Agent": AGENT, "Accept-Encoding": "identity"})
    if begin:
        request.add_header("Range", f"bytes={begin}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if begin and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return error.fp
        if error.code >= 500 or error.code == http.HTTPStatus.TOO_MANY_REQUESTS:
            raise _InterruptedError(f"the server answers {error.code} {error.reason}") from error
        raise UserError(
            f"{card.name}: {card.address}: the server answers {error.code} {error.reason}: "
            f"the file is no longer there; take it from: {card.source}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"no answer ({getattr(error, 'reason', None) or error})") from error
    if answer.headers.get_content_type() == "text/html":
        answer.close()
        raise UserError(
            f"{card.name}: {card.address}: the answer is a web page, not weights: open it in a browser to see why, "
            f"or take the file from: {card.source}"
        )
    return answer


def _said(card: Network, answer: http.client.HTTPResponse) -> dict:
    """Headers that identify the version of the server's file."""
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        size = answer.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        size = answer.headers.get("Content-Length", "")
    if not size.isdigit():
        raise UserError(
            f"{card.name}: {card.address}: the server does not state the file's length, so it cannot be checked "
            f"to be complete; take it from: {card.source}"
        )
    versions = {"etag": answer.headers.get("ETag"), "last_modified": answer.headers.get("Last-Modified")}
    return {"address": card.address, "size": int(size)} | versions


def _read(answer: http.client.HTTPResponse, count: int) -> bytes:
    try:
        return answer.read(count)
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"the connection was lost ({error})") from error
