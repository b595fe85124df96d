import hashlib
import json
import logging
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deepfusion.errors import UserError
from deepfusion.networks import fetch as module
from deepfusion.networks.catalogue import CATALOGUE
from deepfusion.networks.fetch import LOCK, fetch

DATA = bytes(range(256)) * 40
OTHER = DATA[::-1]
NAME = "weights.pth"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server:
    """What the next answers are, and what was asked."""

    def __init__(self):
        self.data = DATA
        self.cut: int | None = None  # bytes after which the connection ends
        self.ranges = True  # whether it knows how to send a part
        self.status = 200
        self.type = "application/octet-stream"
        self.length = True  # whether it says how long the file is
        self.requests: list[dict[str, str]] = []

    def handler(server):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(dict(self.headers))
                begin = int(self.headers.get("Range", "bytes=0-")[6:-1]) if server.ranges else 0
                if begin >= len(server.data):
                    return self.send_error(416)
                if server.status != 200:
                    return self.send_error(server.status)
                self.send_response(206 if begin else 200)
                if begin:
                    self.send_header("Content-Range", f"bytes {begin}-{len(server.data) - 1}/{len(server.data)}")
                if server.length:
                    self.send_header("Content-Length", str(len(server.data) - begin))
                self.send_header("Content-Type", server.type)
                self.send_header("ETag", f'"{sha256(server.data)}"')
                self.end_headers()
                self.wfile.write(server.data[begin : server.cut])

            def log_message(self, *_):
                pass

        return Handler


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "BACK_OFF", 0.001)
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    monkeypatch.setattr(module, "TIMEOUT", 5)
    monkeypatch.setattr(module, "CHUNK", 1000)
    server = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), server.handler()) as listening:
        server.address = f"http://127.0.0.1:{listening.server_port}/folder/{NAME}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        listening.shutdown()
        thread.join()


@pytest.fixture
def card(server):
    """Of a network whose publisher states no hash."""
    return replace(CATALOGUE["vgg-face"], address=server.address)


@pytest.fixture
def published(card):
    """Of a network whose publisher states the hash."""
    return replace(card, sha256=sha256(DATA))


def refusal(card, folder) -> str:
    with pytest.raises(UserError) as caught:
        fetch(card, folder)
    line = str(caught.value)
    assert "\n" not in line
    assert card.name in line
    assert not (folder / NAME).exists()
    return line


def contents(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def interrupted(card, server, folder, at: int):
    """A download that ended after `at` bytes."""
    server.cut = at
    module.ATTEMPTS, kept = 1, module.ATTEMPTS
    refusal(card, folder)
    server.cut, module.ATTEMPTS = None, kept
    assert (folder / f"{NAME}.part").read_bytes() == server.data[:at]
    server.requests.clear()


def test_whole(tmp_path, published, server, caplog):
    caplog.set_level(logging.INFO, "deepfusion")
    folder = tmp_path / "new" / "folder"
    path = fetch(published, folder)
    assert path == folder / NAME
    assert path.read_bytes() == DATA
    assert contents(folder) == {NAME}
    assert "deepfusion" in server.requests[0]["User-Agent"]
    assert "Range" not in server.requests[0]
    for text in (published.licence, published.citation, published.address):
        assert text in caplog.messages[0]


def test_a_verified_file_is_kept_without_a_request(tmp_path, published, card, server):
    for one, folder in ((published, tmp_path / "a"), (card, tmp_path / "b")):
        fetch(one, folder)
        server.requests.clear()
        before = (folder / NAME).stat()
        assert fetch(one, folder) == folder / NAME
        assert not server.requests
        assert (folder / NAME).stat().st_mtime_ns == before.st_mtime_ns


def test_a_connection_that_is_lost_once_is_taken_up_again(tmp_path, published, server, monkeypatch):
    server.cut = 4321
    # The second attempt meets a server that has recovered.
    monkeypatch.setattr(module.time, "sleep", lambda _: setattr(server, "cut", None))
    assert fetch(published, tmp_path).read_bytes() == DATA
    assert [request.get("Range") for request in server.requests] == [None, "bytes=4321-"]


def test_truncated(tmp_path, published, server):
    server.cut = 5000
    server.ranges = False
    line = refusal(published, tmp_path)
    assert f"ended after 5000 of {len(DATA)} bytes" in line
    assert f"{NAME}.part is kept" in line
    assert contents(tmp_path) == {f"{NAME}.part", f"{NAME}.part.json"}


@pytest.mark.parametrize("at", [1, 999, 1000, 4321, len(DATA) - 1])
def test_interrupted_then_resumed(tmp_path, published, server, at):
    interrupted(published, server, tmp_path, at)
    assert fetch(published, tmp_path).read_bytes() == DATA
    assert [request.get("Range") for request in server.requests] == [f"bytes={at}-"]
    assert contents(tmp_path) == {NAME}


def test_interrupted_between_the_last_byte_and_the_renaming(tmp_path, published, server):
    interrupted(published, server, tmp_path, len(DATA) - 1)
    (tmp_path / f"{NAME}.part").write_bytes(DATA)
    assert fetch(published, tmp_path).read_bytes() == DATA
    assert not server.requests


def test_server_without_ranges(tmp_path, published, server):
    interrupted(published, server, tmp_path, 4321)
    server.ranges = False
    assert fetch(published, tmp_path).read_bytes() == DATA
    assert len(server.requests) == 1


@pytest.mark.parametrize("data", [OTHER, OTHER[:9000], OTHER[:4321], OTHER[:100]])
def test_the_file_changed_between_two_attempts(tmp_path, card, server, data):
    interrupted(card, server, tmp_path, 4321)
    server.data = data
    assert fetch(card, tmp_path).read_bytes() == data
    assert [request.get("Range") for request in server.requests] == ["bytes=4321-", None]


def test_another_address_is_not_resumed(tmp_path, card, server):
    interrupted(card, server, tmp_path, 4321)
    moved = replace(card, address=server.address.replace("folder", "elsewhere"))
    assert fetch(moved, tmp_path).read_bytes() == DATA
    assert "Range" not in server.requests[0]


def test_a_rest_without_its_note_is_not_trusted(tmp_path, card):
    (tmp_path / f"{NAME}.part").write_bytes(OTHER[:100])
    assert fetch(card, tmp_path).read_bytes() == DATA


def test_wrong_hash(tmp_path, published, server):
    server.data = OTHER
    line = refusal(published, tmp_path)
    assert sha256(OTHER) in line
    assert sha256(DATA) in line
    assert not contents(tmp_path)


def test_a_damaged_file_is_said_and_left_alone(tmp_path, published, server):
    (tmp_path / NAME).write_bytes(OTHER)
    with pytest.raises(UserError, match=f"delete .*{NAME} to download it again"):
        fetch(published, tmp_path)
    assert (tmp_path / NAME).read_bytes() == OTHER
    assert not server.requests


def test_the_first_use_is_locked_and_later_files_must_agree(tmp_path, card, server):
    path = fetch(card, tmp_path)
    entry = json.loads((tmp_path / LOCK).read_text())["vgg-face"]
    assert entry["address"] == card.address
    assert entry["sha256"] == sha256(DATA)
    assert entry["size"] == len(DATA)
    assert entry["first_use"][:2] == "20"
    path.unlink()
    assert fetch(card, tmp_path).read_bytes() == DATA  # agrees
    path.unlink()
    server.data = OTHER
    line = refusal(card, tmp_path)
    assert sha256(OTHER) in line
    assert sha256(DATA) in line
    assert f"delete the entry 'vgg-face' in {tmp_path / LOCK}" in line
    assert contents(tmp_path) == {LOCK}
    (tmp_path / LOCK).write_text("{}")
    assert fetch(card, tmp_path).read_bytes() == OTHER


def test_the_lock_keeps_other_networks(tmp_path, card):
    (tmp_path / LOCK).write_text('{"other": {"sha256": "0"}}')
    fetch(card, tmp_path)
    assert set(json.loads((tmp_path / LOCK).read_text())) == {"other", "vgg-face"}


def test_a_damaged_lock_is_noticed_before_the_download(tmp_path, card, server):
    (tmp_path / LOCK).write_text("{")
    with pytest.raises(UserError, match=rf"{LOCK}: damaged .* mend or delete it"):
        fetch(card, tmp_path)
    assert not server.requests


def test_a_web_page_instead_of_weights(tmp_path, card, server):
    server.type = "text/html; charset=utf-8"
    assert "the answer is a web page" in refusal(card, tmp_path)
    assert len(server.requests) == 1
    assert not contents(tmp_path)


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (500, 2), (503, 2)])
def test_errors_of_the_server(tmp_path, card, server, status, requests):
    server.status = status
    assert f"the server answers {status} " in refusal(card, tmp_path)
    assert len(server.requests) == requests


def test_length_unknown(tmp_path, card, server):
    server.length = False
    assert "does not state the file's length" in refusal(card, tmp_path)


def test_no_server(tmp_path, server, card):
    dead = replace(card, address=f"http://127.0.0.1:9/{NAME}")  # port 9: discard, nobody listens
    line = refusal(dead, tmp_path)
    assert "no answer" in line
    assert "check the network" in line


@pytest.mark.parametrize("name", ["arcface-iresnet50", "sface"])
def test_nothing_to_download(tmp_path, name):
    with pytest.raises(UserError, match=f"{name}: nothing to download"):
        fetch(CATALOGUE[name], tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
