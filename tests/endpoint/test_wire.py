"""HTTP as clients speak it, and as nobody should."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.endpoint.wire import BadRequestError, Request, answer, take_head
from tests.endpoint.helpers import API, RUN, TOKEN, Endpoint

POINT = json.dumps({"run_id": RUN, "key": "x", "value": 1, "timestamp": 1}).encode()
HEAD = f"POST {API}runs/log-metric HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
LOG = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(POINT), POINT)


def _statuses(data: bytes) -> list[int]:
    return [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]


def test_one_connection_for_many_requests(endpoint: Endpoint) -> None:
    client = http.client.HTTPConnection("127.0.0.1", endpoint.port)
    client.connect()
    first = client.sock
    for _ in range(3):
        client.request("GET", "/health", headers={"Authorization": f"Bearer {TOKEN}"})
        assert client.getresponse().read() == b"OK"
    assert client.sock is first
    client.close()


def test_requests_one_behind_the_other(endpoint: Endpoint) -> None:
    assert _statuses(endpoint.raw(LOG * 50)) == [200] * 50
    assert len(endpoint.history("x")) == 50


def test_a_request_byte_by_byte(endpoint: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in LOG:
            client.sendall(bytes([byte]))
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_body_in_chunks(endpoint: Endpoint) -> None:
    chunks = b"".join(b"%x;note=1\r\n%b\r\n" % (len(part), part) for part in (POINT[:7], POINT[7:8], POINT[8:]))
    request = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nTrailer: x\r\n\r\n"
    assert _statuses(endpoint.raw(request * 2)) == [200, 200]


@pytest.mark.parametrize(("packing", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_body(shared_endpoint: Endpoint, packing: str, pack: object) -> None:
    body = pack(POINT)  # type: ignore[operator]
    assert shared_endpoint.send("POST", f"{API}runs/log-metric", body, Content_Encoding=packing)[0] == 200
    for broken in (b"not packed", body[:-3]):
        assert shared_endpoint.send("POST", f"{API}runs/log-metric", broken, Content_Encoding=packing)[0] == 400
    bomb = gzip.compress(b" " * (64 << 20))
    assert shared_endpoint.send("POST", f"{API}runs/log-metric", bomb, Content_Encoding="gzip")[0] == 413
    assert shared_endpoint.send("POST", f"{API}runs/log-metric", body, Content_Encoding="br")[0] == 400


def test_the_client_that_closes(endpoint: Endpoint) -> None:
    last = LOG.replace(b"Host: x", b"Connection: close")
    assert _statuses(endpoint.raw(last + LOG)) == [200]
    old = LOG.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert _statuses(endpoint.raw(old + LOG)) == [200]


def test_a_client_that_asks_before_it_sends(endpoint: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port)) as client:
        head, _, body = LOG.partition(b"\r\n\r\n")
        client.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: ten\r\n\r\n", 400),
        (HEAD + b"Content-Length: 99999999999\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"GET /" + b"x" * 70_000, 400),
        (b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 70_000, 400),
    ],
)
def test_what_is_no_http(shared_endpoint: Endpoint, data: bytes, status: int) -> None:
    answered = shared_endpoint.raw(data)
    assert _statuses(answered) == [status]
    assert json.loads(answered.partition(b"\r\n\r\n")[2])["error_code"] == "BAD_REQUEST"
    assert shared_endpoint.send("GET", "/health")[0] == 200


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff\xfe", b"nul", b"{}{}", b"[" * 100_000, b"1" * 10_000])
def test_what_is_no_json(shared_endpoint: Endpoint, body: bytes) -> None:
    status, told = shared_endpoint.send("POST", f"{API}runs/log-metric", body)
    assert status == 400
    assert json.loads(told)["error_code"] == "BAD_REQUEST"


@pytest.mark.parametrize("part", [1, 20, len(HEAD), len(LOG) - 1])
def test_half_a_request(endpoint: Endpoint, part: int) -> None:
    assert endpoint.raw(LOG[:part]) == b""
    assert endpoint.history("x") == []
    endpoint.metric("x", 1)


def test_a_client_that_leaves_in_the_middle_of_its_answer(endpoint: Endpoint) -> None:
    for step in range(5):
        points = [{"key": "x", "value": 1.5, "timestamp": 1, "step": step}] * 1000
        endpoint.post("runs/log-batch", run_id=RUN, metrics=points)
    with socket.create_connection(("127.0.0.1", endpoint.port)) as client:
        client.sendall(
            HEAD.replace(b"POST", b"GET").replace(
                b"runs/log-metric", b"metrics/get-history?run_id=calm_otter_1&metric_key=x"
            )
            + b"\r\n"
        )
        client.recv(10)
    assert len(endpoint.history("x")) == 5000


@pytest.mark.parametrize(
    "given",
    [
        None,
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer",
        f"Digest {TOKEN}",
        "Basic !!!",
        "Basic " + b64encode(b"ada:wrong").decode(),
        "Bearer \xff\xfe",
    ],
)
def test_the_token_is_asked_for(shared_endpoint: Endpoint, given: str | None) -> None:
    for method, path in (
        ("POST", f"{API}runs/log-metric"),
        ("GET", "/health"),
        ("GET", "/version"),
        ("GET", "/nothing"),
    ):
        client = http.client.HTTPConnection("127.0.0.1", shared_endpoint.port)
        client.request(method, path, POINT * 1000, {} if given is None else {"Authorization": given})
        told = client.getresponse()
        assert (told.status, json.loads(told.read())["error_code"]) == (401, "UNAUTHENTICATED")
        client.close()
    assert not (shared_endpoint.folder / "metrics.jsonl").exists() or shared_endpoint.history("nothing") == []


def test_the_token_as_a_password(shared_endpoint: Endpoint) -> None:
    client = http.client.HTTPConnection("127.0.0.1", shared_endpoint.port)
    client.request("GET", "/health", headers={"Authorization": "Basic " + b64encode(f"ada:{TOKEN}".encode()).decode()})
    assert client.getresponse().status == 200
    client.close()


def test_strangers_bodies_are_not_kept(endpoint: Endpoint) -> None:
    endpoint.run()
    before = endpoint.resident_mb()
    with socket.create_connection(("127.0.0.1", endpoint.port)) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n")
        for _ in range(19):
            client.sendall(b"x" * 1_000_000)
        assert endpoint.resident_mb() < before + 4
        client.sendall(b"x" * 1_000_000)
        assert client.recv(100).startswith(b"HTTP/1.1 401")


def test_health_and_version(shared_endpoint: Endpoint) -> None:
    assert shared_endpoint.send("GET", "/health") == (200, b"OK")
    assert shared_endpoint.send("GET", "/version") == (200, b"3.0.0")


def test_a_hundred_connections(endpoint: Endpoint) -> None:
    """All of them open before the first one speaks, then all at once."""
    clients = [http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=60) for _ in range(100)]
    for client in clients:
        client.connect()
    failures: list[object] = []

    def speak(number: int) -> None:
        for step in range(5):
            body = json.dumps({"run_id": RUN, "key": f"m{number}", "value": step, "timestamp": 1, "step": step})
            clients[number].request("POST", f"{API}runs/log-metric", body, {"Authorization": f"Bearer {TOKEN}"})
            told = clients[number].getresponse()
            told.read()
            if told.status != 200:
                failures.append(told.status)

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    assert failures == []
    assert endpoint.metrics() == {f"m{number}": 4 for number in range(100)}
    assert len(endpoint.lines("metrics.jsonl")) == 500
    assert endpoint.resident_mb() < 40


def test_one_slow_client_holds_up_nobody(endpoint: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port)) as slow:
        slow.sendall(LOG[:-5])
        begin = time.monotonic()
        for step in range(20):
            endpoint.metric("x", step, step=step)
        assert time.monotonic() - begin < 5
        slow.sendall(LOG[-5:])
        assert slow.recv(100).startswith(b"HTTP/1.1 200")


# The parser alone

parts = st.lists(st.integers(1, 30), max_size=20)


def _parse(data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """The body of a request that comes in pieces, and what is left behind it."""
    buffer, request, position = bytearray(), None, 0
    for cut in [*cuts, len(data)]:
        buffer += data[position : position + cut]
        position += cut
        request = request or take_head(buffer)
        if request is not None and request.feed(buffer):
            return bytes(request.body), bytes(buffer) + data[position:]
    raise AssertionError("the request did not end")


@given(st.binary(max_size=100), parts, st.binary(max_size=10))
def test_a_body_of_known_length_in_any_pieces(body: bytes, cuts: list[int], behind: bytes) -> None:
    data = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert _parse(data + behind, cuts) == (body, behind)


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=5), parts)
def test_chunks_in_any_pieces(chunks: list[bytes], cuts: list[int]) -> None:
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    data = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"
    assert _parse(data + b"GET", cuts) == (b"".join(chunks), b"GET")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_a_bad_one(data: bytes) -> None:
    buffer = bytearray(data)
    try:
        request = take_head(buffer)
        if request is not None:
            request.feed(buffer)
    except BadRequestError as bad:
        assert bad.status in (400, 413)  # noqa: PT017  (any bytes may be a request, too)


def test_pieces_of_an_answer() -> None:
    head, pieces = answer(200, iter([b"abc", b"", b"defghijklmnopqrstuvw"]), is_last=False)
    assert b"Transfer-Encoding: chunked" in head
    assert b"".join(pieces or ()) == b"3\r\nabc\r\n14\r\ndefghijklmnopqrstuvw\r\n0\r\n\r\n"


def test_a_query() -> None:
    request = Request(b"GET /a%20b?x=1&y=a%26b&x=2&z= HTTP/1.1\r\nHost: h")
    assert (request.path, request.query()) == ("/a b", {"x": ["1", "2"], "y": "a&b", "z": ""})
