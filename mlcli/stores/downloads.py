"""Files from the web, fetched once and kept by URL.

On disk, ``<root>/downloads/<sha256 of the URL>/``: ``<sha256 of the content>/<name>`` the whole, checked, read-only file
(a new version gets a new folder, so that a running job keeps the one it began with); ``record.json`` which one is
current, with the server's validators; ``part`` and ``part.json`` a download that was interrupted; ``lock``.

The rules of HTTP are those of RFC 9110 (ranges, conditional requests) and RFC 9530 (digests). The URL itself is written
nowhere: it may hold a signature.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mlcli.domain.errors import StoreError, TransportError
from mlcli.json_files import read_record, stamp, write_record
from mlcli.ports.stores import DownloadCache

if TYPE_CHECKING:
    import ssl

    import httpx

_RECORD = "record.json"
_REPORT_S = 2.0
_LONGEST_NAME = 200
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class _Validators:
    """What tells one version of a file from the next; empty when the server says nothing."""

    etag: str | None = None
    last_modified: str | None = None

    @property
    def for_range(self) -> str | None:
        """What If-Range takes: a strong validator."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


@dataclass(frozen=True)
class _Record:
    """The current version: ``folder`` is the sha256 of its content."""

    folder: str
    name: str
    size: int
    validators: _Validators


class _TransientError(Exception):
    """Worth another try, after ``after_s`` seconds when the server said so."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class WebDownloads(DownloadCache):
    """The cache below ``root``/downloads.

    ``tries``: how often in a row a download may fail without a byte of progress; ``pause_s``: the first pause between
    two tries, doubled each time.
    """

    def __init__(self, root: Path, *, tries: int = 5, pause_s: float = 0.5) -> None:
        self._folder = root / "downloads"
        self._tries = tries
        self._pause_s = pause_s

    def cached(self, url: str) -> Path | None:
        """The copy that the last download left, whole and checked."""
        place = self._place(url)
        record = _read_record(place)
        return place / record.folder / record.name if record else None

    def fetch(self, url: str, log: Callable[[str], None]) -> Path:
        """Download, or ask whether the copy is still current; without an answer the copy serves, and the log says so."""
        place = self._place(url)
        with _store_errors(place):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            before = stamp(place / _RECORD)
            with _exclusive(
                place / "lock", lambda: log(f"another process downloads {shown(url)}: waiting for it")
            ) as waited:
                record = _read_record(place)
                if record is None or not (waited and stamp(place / _RECORD) != before):
                    record = self._current(url, place, record, log)
                return place / record.folder / record.name

    def _place(self, url: str) -> Path:
        return self._folder / hashlib.sha256(url.encode()).hexdigest()

    def _current(self, url: str, place: Path, record: _Record | None, log: Callable[[str], None]) -> _Record:
        import httpx

        timeout = httpx.Timeout(60.0, connect=15.0)
        headers = {"Accept-Encoding": "identity", "User-Agent": "mlcli"}
        try:
            client = httpx.Client(timeout=timeout, follow_redirects=True, headers=headers, verify=_certificates())
        except (ImportError, ValueError, OSError) as wrong:
            raise TransportError(
                f"cannot download {shown(url)}: {wrong}",
                transient=False,
                hint="check the proxy and certificate settings",
            ) from wrong
        with client:
            download = _Download(client, url, place, record, log)
            tries = 2 if record else self._tries
            try:
                return _patiently(download, tries, self._pause_s, log)
            except _TransientError as failed:
                if record is None:
                    raise TransportError(
                        f"cannot download {shown(url)}: {failed}",
                        transient=True,
                        hint="check the network and submit again; what has arrived is kept",
                    ) from failed
                log(f"cannot reach {shown(url)} ({failed}): using the copy of before")
                return record


def shown(url: str) -> str:
    """The URL as a person may see it: no user information, no query (it may be a signature), no fragment."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(an address that cannot be read)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def file_name(url: str) -> str:
    """The last part of the URL's path as a safe file name (``iris.csv``)."""
    last = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    safe = (
        "".join(letter if letter.isprintable() and letter not in "/\\" else "_" for letter in last).strip(". ")
        or "data"
    )
    stem, dot, suffix = safe.rpartition(".")
    if len(safe.encode()) <= _LONGEST_NAME:
        return safe
    short = hashlib.sha256(safe.encode()).hexdigest()[:16]
    return f"{short}{dot}{suffix}" if stem and len(suffix) < 16 else short


def _patiently(download: _Download, tries: int, pause_s: float, log: Callable[[str], None]) -> _Record:
    """Try until it works or ``tries`` in a row brought nothing. Raises _TransientError with the last reason."""
    failures = 0
    while True:
        reached = download.reached
        try:
            return download.attempt()
        except _TransientError as failed:
            failures = 1 if download.reached > reached else failures + 1
            if failures >= tries:
                raise
            wanted = pause_s * 2 ** (failures - 1) if failed.after_s is None else failed.after_s
            log(f"{failed}: trying again")
            time.sleep(min(wanted, _LONGEST_PAUSE_S))


class _Download:
    """One download: what has arrived of it, and how to ask for the rest.

    ``reached``: the furthest byte that ever arrived; a try that does not get beyond it brought nothing.
    """

    def __init__(
        self, client: httpx.Client, url: str, place: Path, record: _Record | None, log: Callable[[str], None]
    ) -> None:
        self._client = client
        self._url = url
        self._place = place
        self._record = record
        self._part = place / "part"
        self._part_record = place / "part.json"
        self._log = log
        self.reached = 0

    def attempt(self) -> _Record:
        """Ask once. Raises _TransientError, or TransportError when another try cannot help."""
        import httpx

        begun = self._begun()
        try:
            with self._client.stream("GET", self._url, headers=self._conditions(begun)) as response:
                return self._answered(response, begun)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.DecodingError) as failed:
            raise self._fatal(_reason(failed)) from failed
        except httpx.TransportError as failed:
            if "CERTIFICATE_VERIFY_FAILED" in str(failed):
                raise self._fatal(
                    "the server's certificate is not trusted", "point SSL_CERT_FILE at your organisation's certificates"
                ) from failed
            raise _TransientError(_reason(failed)) from failed

    def _begun(self) -> _Validators | None:
        """The validators of an interrupted download that can go on, else None."""
        known = read_record(self._part_record)
        if known is None or not self._part.exists() or self._part.stat().st_size == 0:
            return None
        return _Validators(known.get("etag"), known.get("last_modified"))

    def _conditions(self, begun: _Validators | None) -> dict[str, str]:
        if begun is not None and begun.for_range:
            return {"Range": f"bytes={self._part.stat().st_size}-", "If-Range": begun.for_range}
        if self._record is None:
            return {}
        known = self._record.validators
        conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
        return {name: value for name, value in conditions.items() if value}

    def _answered(self, response: httpx.Response, begun: _Validators | None) -> _Record:
        status = response.status_code
        if status == 304 and self._record:
            self._log(f"{shown(self._url)} has not changed")
            return self._record
        if status == 416 and begun is not None:
            self._forget()
            raise _TransientError("the server has no more of the file than what is here")
        if status in _TRANSIENT_STATUS:
            raise _TransientError(f"the server answered {status}", _retry_after(response))
        if status not in {200, 206}:
            raise self._fatal(f"the server answered {status}", _ADVICE.get(status, "check the address"))
        offset = self._offset(response)
        self._receive(response, offset)
        return self._checked(response, partial=status == 206)

    def _offset(self, response: httpx.Response) -> int:
        """Where what comes belongs in the file; a whole answer begins anew."""
        if response.status_code == 200:
            self._forget()
            return 0
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        size = self._part.stat().st_size if self._part.exists() else -1
        if found is None or int(found[1]) != size:
            self._forget()
            raise _TransientError("the server sent another part of the file than was asked for")
        return size

    def _receive(self, response: httpx.Response, offset: int) -> None:
        validators = _Validators(response.headers.get("ETag"), response.headers.get("Last-Modified"))
        if offset == 0 and "Content-Encoding" not in response.headers:
            write_record(self._part_record, asdict(validators))
        progress = _Progress(self._url, offset, _total(response, offset), self._log)
        try:
            self._append(response, progress)
        except OSError:  # it may be what fills the disk, and the failure must find room to be told
            self._forget()
            raise

    def _append(self, response: httpx.Response, progress: _Progress) -> None:
        with self._part.open("ab") as part:
            for chunk in response.iter_bytes():  # no chunk size: what httpx gathers is lost when the line breaks
                part.write(chunk)
                self.reached = max(self.reached, part.tell())
                progress.report(part.tell())
            part.flush()
            os.fsync(part.fileno())

    def _checked(self, response: httpx.Response, *, partial: bool) -> _Record:
        """Length and stated checksums; then the file takes its place."""
        size = self._part.stat().st_size
        total = _total(response, size - response.num_bytes_downloaded)
        if total is not None and size != total and "Content-Encoding" not in response.headers:
            self._forget()
            raise _TransientError(f"{size} bytes arrived where the server stated {total}")
        digests = _digests(self._part, {"sha256", *(name for name, _ in _stated(response, partial=partial))})
        for name, stated in _stated(response, partial=partial):
            if digests[name] != stated:
                self._forget()
                raise _TransientError(f"what arrived does not have the {name} checksum that the server states")
        return self._kept(digests["sha256"].hex(), size, response)

    def _kept(self, digest: str, size: int, response: httpx.Response) -> _Record:
        name = file_name(self._url)
        target = self._place / digest / name
        target.parent.mkdir(exist_ok=True, mode=0o700)
        self._part.replace(target)
        target.chmod(0o444)  # after: a part that is killed here must stay writable
        self._part_record.unlink(missing_ok=True)
        validators = _Validators(response.headers.get("ETag"), response.headers.get("Last-Modified"))
        record = _Record(digest, name, size, validators)
        write_record(self._place / _RECORD, asdict(record))
        self._log(f"downloaded {shown(self._url)} ({_human(size)})")
        return record

    def _forget(self) -> None:
        self._part.unlink(missing_ok=True)
        self._part_record.unlink(missing_ok=True)

    def _fatal(self, reason: str, hint: str = "check the address") -> TransportError:
        return TransportError(f"cannot download {shown(self._url)}: {reason}", transient=False, hint=hint)


_ADVICE = {
    401: "the address needs credentials: put them in the URL, or use a signed URL",
    403: "the address needs credentials, or its signature has expired",
    404: "check the address: there is no such file",
    410: "the file was taken away",
}


class _Progress:
    """A line now and then, for downloads that take a while."""

    def __init__(self, url: str, offset: int, total: int | None, log: Callable[[str], None]) -> None:
        self._total = total
        self._log = log
        self._name = file_name(url)
        self._next = time.monotonic() + _REPORT_S
        if offset:
            log(f"going on with {self._name} at {_human(offset)}")

    def report(self, arrived: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REPORT_S
            of = f" of {_human(self._total)} ({arrived * 100 // self._total} %)" if self._total else ""
            self._log(f"{self._name}: {_human(arrived)}{of}")


def _reason(failed: Exception) -> str:
    """Httpx's errors in our words: theirs may quote an address with its signature."""
    import httpx

    words: tuple[tuple[type[Exception], str], ...] = (
        (httpx.ConnectTimeout, "the server could not be reached in time"),
        (httpx.TimeoutException, "the server fell silent"),
        (httpx.ConnectError, f"the server could not be reached ({failed})"),
        (httpx.ProxyError, f"the proxy refused ({failed})"),
        (httpx.UnsupportedProtocol, "only http and https can be downloaded"),
        (httpx.TooManyRedirects, "the server sends from one address to the next without end"),
        (httpx.InvalidURL, "the address, or one that the server sends to, cannot be read"),
        (httpx.DecodingError, "the server's compression cannot be read"),
    )
    return next(
        (said for kind, said in words if isinstance(failed, kind)), "the connection broke before the file was whole"
    )


def _total(response: httpx.Response, offset: int) -> int | None:
    """The whole file's length as the server states it."""
    ranged = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if ranged:
        return int(ranged[1])
    length = response.headers.get("Content-Length", "")
    return offset + int(length) if length.isdecimal() else None


def _retry_after(response: httpx.Response) -> float | None:
    stated = response.headers.get("Retry-After", "")
    return float(stated) if stated.isdecimal() else None


def _stated(response: httpx.Response, *, partial: bool) -> Iterator[tuple[str, bytes]]:
    """(algorithm, digest) of the whole file, for every checksum that the server states.

    Content-MD5 is of what this answer carries, the others of the whole file whatever part of it was sent.
    """
    headers = response.headers
    if "Content-Encoding" in headers:
        return
    if not partial and "Content-MD5" in headers:
        yield from _decoded("md5", headers["Content-MD5"])
    if "x-ms-blob-content-md5" in headers:
        yield from _decoded("md5", headers["x-ms-blob-content-md5"])
    if "x-amz-checksum-sha256" in headers:
        yield from _decoded("sha256", headers["x-amz-checksum-sha256"])
    for header in ("Digest", "Repr-Digest", "x-goog-hash"):
        for member in headers.get(header, "").split(","):
            name, _, value = member.strip().partition("=")
            if name.lower() in _ALGORITHMS:
                yield from _decoded(_ALGORITHMS[name.lower()], value.strip(":"))
    etag = headers.get("ETag", "").strip('"')
    if headers.get("Server") == "AmazonS3" and re.fullmatch(r"[0-9a-f]{32}", etag) and not _encrypted(headers):
        yield "md5", bytes.fromhex(etag)


_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512", "md5": "md5", "sha": "sha1"}


def _encrypted(headers: Mapping[str, str]) -> bool:
    """S3's ETag is an MD5 only of objects that no customer or KMS key encrypts."""
    return any(
        name.lower().startswith("x-amz-server-side-encryption") and value != "AES256" for name, value in headers.items()
    )


def _decoded(name: str, text: str) -> Iterator[tuple[str, bytes]]:
    import base64
    import binascii

    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return
    if len(digest) == hashlib.new(name, usedforsecurity=False).digest_size:
        yield name, digest


def _digests(file: Path, names: set[str]) -> dict[str, bytes]:
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with file.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            for digest in hashes.values():
                digest.update(chunk)
    return {name: digest.digest() for name, digest in hashes.items()}


def _certificates() -> ssl.SSLContext:
    """Httpx's authorities, the system's, and those that SSL_CERT_FILE or the variables of other tools name."""
    import httpx

    context = httpx.create_ssl_context()  # hears SSL_CERT_FILE
    context.load_default_certs()
    named = {os.environ.get(variable) for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
    for file in named - {None, os.environ.get("SSL_CERT_FILE")}:
        if file and Path(file).is_file():
            context.load_verify_locations(cafile=file)
    return context


def _human(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _read_record(place: Path) -> _Record | None:
    """The current version, if its file is there and whole."""
    known = read_record(place / _RECORD)
    if known is None:
        return None
    record = _Record(known["folder"], known["name"], known["size"], _Validators(**known["validators"]))
    try:
        return record if (place / record.folder / record.name).stat().st_size == record.size else None
    except OSError:
        return None


@contextmanager
def _exclusive(path: Path, waiting: Callable[[], None]) -> Iterator[bool]:
    """Hold a lock file; ``waiting`` is called once when another process holds it. Yields whether it was waited for."""
    import fcntl

    with path.open("a") as lock:
        waited = False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield waited


@contextmanager
def _store_errors(place: Path) -> Iterator[None]:
    """The disk's refusals in words."""
    try:
        yield
    except OSError as refused:
        raise StoreError(
            f"cannot keep the download in {place.parent}: {refused.strerror or refused}",
            hint="free some space, or put the workspace on another disk",
        ) from refused
