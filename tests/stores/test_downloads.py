"""Web downloads against a real server that misbehaves: it breaks off, ignores ranges, changes the file, lies, fails."""

from __future__ import annotations

import base64
import hashlib
import http.server
import multiprocessing
import os
import shutil
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.errors import MlcliError, StoreError, TransportError
from mlcli.stores.downloads import WebDownloads, file_name, shown

IRIS = b"sepal_length,species\n" + b"5.1,setosa\n" * 20_000


@dataclass
class Behaviour:
    """What the server does; tests change it between requests."""

    body: bytes = IRIS
    etag: str | None = '"v1"'
    last_modified: str | None = None
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    break_after: list[int] = field(default_factory=list)
    """Bytes of the body after which the connection is cut, one entry a request."""
    length: int | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    before_body: Callable[[], None] = lambda: None
    redirect: str | None = None


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = Behaviour()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        behaviour = self.server.behaviour
        behaviour.requests.append({**self.headers, "path": self.path})
        if behaviour.redirect and self.path != behaviour.redirect:
            return self.plain(302, {"Location": behaviour.redirect})
        if behaviour.statuses:
            status = behaviour.statuses.pop(0)
            if status != 200:
                return self.plain(status, behaviour.headers)
        if behaviour.etag and self.headers.get("If-None-Match") == behaviour.etag:
            return self.plain(304, {})
        if behaviour.last_modified and self.headers.get("If-Modified-Since") == behaviour.last_modified:
            return self.plain(304, {})
        return self.body(behaviour)

    def plain(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def body(self, behaviour: Behaviour) -> None:
        start = 0
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if wanted and behaviour.ranges and condition in {behaviour.etag, behaviour.last_modified}:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(behaviour.body) - 1}/{len(behaviour.body)}")
        else:
            self.send_response(200)
        if behaviour.etag:
            self.send_header("ETag", behaviour.etag)
        if behaviour.last_modified:
            self.send_header("Last-Modified", behaviour.last_modified)
        for name, value in behaviour.headers.items():
            self.send_header(name, value)
        body = behaviour.body[start:]
        self.send_header("Content-Length", str(len(body) if behaviour.length is None else behaviour.length))
        self.end_headers()
        behaviour.before_body()
        cut = behaviour.break_after.pop(0) if behaviour.break_after else None
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None or behaviour.length is not None:
            self.close_connection = True

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    started = Server()
    thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield started
    started.shutdown()
    started.server_close()
    thread.join()


@pytest.fixture
def behaviour(server: Server) -> Behaviour:
    return server.behaviour


@pytest.fixture
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/data/iris.csv"


@pytest.fixture
def downloads(tmp_path) -> WebDownloads:
    return WebDownloads(tmp_path, tries=3, pause_s=0.01)


def ignore(_line):
    pass


def test_a_file_keeps_its_name_and_cannot_be_written(downloads, url):
    assert downloads.cached(url) is None
    file = downloads.fetch(url, ignore)
    assert file.name == "iris.csv"
    assert file.read_bytes() == IRIS
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert downloads.cached(url) == file


def test_a_download_that_breaks_off_goes_on_where_it_stood(downloads, url, behaviour):
    behaviour.break_after = [50_000, 60_000]
    assert downloads.fetch(url, ignore).read_bytes() == IRIS
    assert [request.get("Range") for request in behaviour.requests] == [None, "bytes=50000-", "bytes=110000-"]
    assert behaviour.requests[1]["If-Range"] == '"v1"'


def test_what_has_arrived_is_kept_for_the_next_process(tmp_path, url, behaviour):
    behaviour.break_after = [70_000]
    with pytest.raises(TransportError) as caught:
        WebDownloads(tmp_path, tries=1).fetch(url, ignore)
    assert caught.value.transient
    lines: list[str] = []
    assert WebDownloads(tmp_path, tries=1).fetch(url, lines.append).read_bytes() == IRIS
    assert behaviour.requests[-1]["Range"] == "bytes=70000-"
    assert any("going on" in line for line in lines)


def test_a_file_that_changed_in_between_is_not_pasted_together(tmp_path, url, behaviour):
    behaviour.break_after = [70_000]
    with pytest.raises(TransportError):
        WebDownloads(tmp_path, tries=1).fetch(url, ignore)
    behaviour.body, behaviour.etag = IRIS.replace(b"setosa", b"Setosa"), '"v2"'
    assert WebDownloads(tmp_path, tries=1).fetch(url, ignore).read_bytes() == behaviour.body


def test_last_modified_serves_where_there_is_no_etag(downloads, url, behaviour):
    behaviour.etag, behaviour.last_modified = None, formatdate(1_700_000_000, usegmt=True)
    behaviour.break_after = [1000]
    file = downloads.fetch(url, ignore)
    assert file.read_bytes() == IRIS
    assert behaviour.requests[1]["If-Range"] == behaviour.last_modified
    assert downloads.fetch(url, ignore) == file
    assert behaviour.requests[2]["If-Modified-Since"] == behaviour.last_modified


@pytest.mark.parametrize(("etag", "ranges"), [('W/"weak"', True), (None, True), ('"v1"', False)])
def test_without_a_strong_validator_or_ranges_it_begins_anew(downloads, url, behaviour, etag, ranges):
    behaviour.etag, behaviour.ranges, behaviour.break_after = etag, ranges, [5000]
    assert downloads.fetch(url, ignore).read_bytes() == IRIS
    assert len(behaviour.requests) == 2


def test_an_unchanged_file_is_not_sent_again(downloads, url, behaviour):
    first = downloads.fetch(url, ignore)
    inode = first.stat().st_ino
    lines: list[str] = []
    assert downloads.fetch(url, lines.append) == first
    assert first.stat().st_ino == inode
    assert behaviour.requests[1]["If-None-Match"] == '"v1"'
    assert any("has not changed" in line for line in lines)


def test_a_new_version_is_fetched_and_leaves_the_old_to_jobs_that_have_it(downloads, url, behaviour):
    old = downloads.fetch(url, ignore)
    behaviour.body, behaviour.etag = b"new\n", '"v2"'
    new = downloads.fetch(url, ignore)
    assert new.read_bytes() == b"new\n"
    assert new.name == "iris.csv"
    assert old.read_bytes() == IRIS
    assert downloads.cached(url) == new


def test_server_errors_pass(downloads, url, behaviour):
    behaviour.statuses = [500, 503, 200]
    lines: list[str] = []
    assert downloads.fetch(url, lines.append).read_bytes() == IRIS
    assert sum("trying again" in line for line in lines) == 2


def test_a_server_that_says_when_to_come_back_is_heard(downloads, url, behaviour):
    behaviour.statuses, behaviour.headers = [429, 200], {"Retry-After": "0"}
    assert WebDownloads(downloads._folder, tries=2, pause_s=3600).fetch(url, ignore).read_bytes() == IRIS


def test_server_errors_that_last_end_it(downloads, url, behaviour):
    behaviour.statuses = [500] * 10
    with pytest.raises(TransportError, match="500") as caught:
        downloads.fetch(url, ignore)
    assert caught.value.transient
    assert len(behaviour.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_another_try_cannot_help_is_asked_once(downloads, url, behaviour, status):
    behaviour.statuses = [status] * 2
    with pytest.raises(TransportError, match=str(status)) as caught:
        downloads.fetch(url, ignore)
    assert not caught.value.transient
    assert caught.value.hint
    assert len(behaviour.requests) == 1


def test_progress_resets_the_count_of_tries(downloads, url, behaviour):
    behaviour.break_after = [1000] * 20
    assert downloads.fetch(url, ignore).read_bytes() == IRIS
    assert len(behaviour.requests) == 21


def test_a_length_that_is_a_lie_is_never_a_whole_file(downloads, url, behaviour):
    behaviour.length, behaviour.ranges = len(IRIS) + 10, False
    with pytest.raises(TransportError):
        downloads.fetch(url, ignore)
    assert downloads.cached(url) is None


def _base64(algorithm: str, data: bytes) -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


CHECKSUMS = {
    "Content-MD5": lambda data: _base64("md5", data),
    "x-ms-blob-content-md5": lambda data: _base64("md5", data),
    "Digest": lambda data: f"sha-256={_base64('sha256', data)},unknown=abc",
    "Repr-Digest": lambda data: f"sha-512=:{_base64('sha512', data)}:",
    "x-goog-hash": lambda data: f"crc32c=n03x6A==, md5={_base64('md5', data)}",
    "x-amz-checksum-sha256": lambda data: _base64("sha256", data),
}


@pytest.mark.parametrize("header", CHECKSUMS)
def test_a_checksum_that_fits_is_fine_and_one_that_does_not_is_an_error(downloads, url, behaviour, header):
    behaviour.headers = {header: CHECKSUMS[header](IRIS)}
    assert downloads.fetch(url, ignore).read_bytes() == IRIS
    behaviour.body, behaviour.etag = IRIS[:-1] + b"?", '"v2"'
    lines: list[str] = []
    assert downloads.fetch(url, lines.append).read_bytes() == IRIS, "a damaged new version never replaces a good copy"
    assert any("checksum" in line for line in lines)
    with pytest.raises(TransportError, match="checksum"):
        WebDownloads(downloads._folder.parent / "other", tries=2, pause_s=0.01).fetch(url, ignore)


def test_s3_states_the_md5_in_its_etag(downloads, url, behaviour, monkeypatch):
    monkeypatch.setattr(Handler, "version_string", lambda _self: "AmazonS3")
    behaviour.etag = f'"{hashlib.md5(IRIS).hexdigest()}"'
    assert downloads.fetch(url, ignore).read_bytes() == IRIS
    behaviour.etag = f'"{hashlib.md5(b"else").hexdigest()}"'
    with pytest.raises(TransportError, match="checksum"):
        WebDownloads(downloads._folder, tries=1).fetch(url, ignore)
    behaviour.headers = {"x-amz-server-side-encryption": "aws:kms"}
    assert WebDownloads(downloads._folder, tries=1).fetch(url, ignore).read_bytes() == IRIS


def test_the_whole_files_checksum_is_checked_after_a_resumption(downloads, url, behaviour):
    behaviour.headers = {"Digest": f"sha-256={_base64('sha256', IRIS)}"}
    behaviour.break_after = [100_000]
    assert downloads.fetch(url, ignore).read_bytes() == IRIS


def test_offline_the_copy_serves_and_the_log_says_so(downloads, url, server):
    file = downloads.fetch(url, ignore)
    server.shutdown()
    server.server_close()
    lines: list[str] = []
    assert downloads.fetch(url, lines.append) == file
    assert any("using the copy" in line for line in lines)


def test_offline_without_a_copy_is_an_error_with_advice(downloads, url, server):
    server.shutdown()
    server.server_close()
    with pytest.raises(TransportError) as caught:
        downloads.fetch(url, ignore)
    assert caught.value.transient
    assert caught.value.hint


def test_a_damaged_copy_is_fetched_again(downloads, url):
    file = downloads.fetch(url, ignore)
    file.chmod(0o644)
    file.write_bytes(IRIS[:100])
    assert downloads.cached(url) is None
    assert downloads.fetch(url, ignore).read_bytes() == IRIS


def test_redirects_are_followed_and_the_name_is_the_one_asked_for(downloads, url, behaviour):
    behaviour.redirect = "/blob/0123456789"
    file = downloads.fetch(url, ignore)
    assert file.name == "iris.csv"
    assert file.read_bytes() == IRIS


def test_compressed_answers_are_unpacked(downloads, url, behaviour):
    import gzip

    behaviour.body, behaviour.headers = gzip.compress(IRIS), {"Content-Encoding": "gzip"}
    assert downloads.fetch(url, ignore).read_bytes() == IRIS
    assert behaviour.requests[0]["Accept-Encoding"] == "identity"


def test_an_empty_file_is_a_file(downloads, url, behaviour):
    behaviour.body = b""
    assert downloads.fetch(url, ignore).read_bytes() == b""


def _fetch_in_process(root, url, barrier, answers):
    barrier.wait()
    answers.put(str(WebDownloads(Path(root)).fetch(url, ignore)))


def test_many_processes_download_one_file_once(tmp_path, url, behaviour):
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(4), context.Queue()
    full = threading.Event()
    behaviour.before_body = lambda: full.wait(2)
    processes = [context.Process(target=_fetch_in_process, args=(tmp_path, url, barrier, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    paths = {answers.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    assert len(paths) == 1
    assert Path(paths.pop()).read_bytes() == IRIS
    assert sum("If-None-Match" not in request for request in behaviour.requests) == 1


SECRET = "s3cr3tS1gnature"


def test_signatures_and_passwords_are_shown_to_nobody(tmp_path, server, behaviour):
    url = f"http://user:{SECRET}@127.0.0.1:{server.server_port}/iris.csv?sv=2021&sig={SECRET}"
    downloads = WebDownloads(tmp_path, tries=2, pause_s=0.01)
    lines: list[str] = []
    behaviour.break_after = [1000]
    downloads.fetch(url, lines.append)
    assert behaviour.requests[0]["Authorization"].startswith("Basic ")
    behaviour.statuses = [500] * 9
    downloads.fetch(url, lines.append)
    behaviour.statuses = [403]
    with pytest.raises(MlcliError) as caught:
        downloads.fetch(url, lines.append)
    said = "\n".join([*lines, caught.value.message, caught.value.hint or "", *caught.value.details])
    assert SECRET not in said
    assert "127.0.0.1" in said
    for file in tmp_path.rglob("*"):
        assert SECRET not in str(file)
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_are_checked_and_an_organisations_own_is_trusted_when_named(
    tmp_path, server, monkeypatch, variable
):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    ask = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *ask.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://127.0.0.1:{server.server_port}/iris.csv"
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TransportError, match="not trusted") as caught:
        WebDownloads(tmp_path, tries=3).fetch(url, ignore)
    assert not caught.value.transient
    monkeypatch.setenv(variable, str(certificate))
    assert WebDownloads(tmp_path, tries=1).fetch(url, ignore).read_bytes() == IRIS


@pytest.mark.parametrize("bad", ["ftp://host/file", "http://[::1/file", "http://", "http://host:99999/x"])
def test_addresses_that_cannot_be_asked_are_errors_of_ours(downloads, bad):
    with pytest.raises(TransportError):
        downloads.fetch(bad, ignore)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_workspace_is_said(tmp_path, url):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError):
        WebDownloads(tmp_path).fetch(url, ignore)


def test_a_workspace_that_cannot_hold_folders_is_said(tmp_path, url):
    (tmp_path / "downloads").write_text("in the way")
    with pytest.raises(StoreError) as caught:
        WebDownloads(tmp_path).fetch(url, ignore)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a/iris.csv", "iris.csv"),
        ("https://host/a/iris%20set.csv?sig=x", "iris set.csv"),
        ("https://host/a/", "a"),
        ("https://host", "data"),
        ("https://host/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("https://host/%2e%2e", "data"),
    ],
)
def test_file_names(url, name):
    assert file_name(url) == name


@given(st.text(max_size=300))
def test_any_address_gives_a_file_name_that_stays_in_its_folder(path):
    name = file_name("https://host/" + path.replace("?", "").replace("#", ""))
    assert name not in {"", ".", ".."}
    assert "/" not in name
    assert "\0" not in name
    assert len(os.fsencode(name)) <= 255


@given(st.text(max_size=60))
def test_any_address_can_be_shown(text):
    assert isinstance(shown("https://" + text), str)
