"""Bytes that are no HTTP, and clients that never finish: the served survey refuses them, goes on, and logs no failure."""

import re
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import pytest
import requests
from conftest import Workshop

WAIT_S = 20
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
BROKEN = {
    "nothing": b"",
    "no line": b"\x00\xff\xfe",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 64,
    "empty lines": b"\r\n" * 50,
    "no version": b"GET /health\r\n\r\n",
    "other version": b"GET /health HTTP/9.9\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "odd method": b"G\x00T /health HTTP/1.1\r\nHost: a\r\n\r\n",
    "raw bytes in the path": b"GET /\xff\xfe/\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "raw bytes in the query": b"GET /study/x/?lang=\xff%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in the path": b"GET /study/%00/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute address": b"GET http://evil.example/study/x/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "star": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "long line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "many headers": GET + b"X: y\r\n" * 500 + b"\r\n",
    "long header": GET + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    "header without colon": GET + b"broken\r\n\r\n",
    "header with NUL": GET + b"X: a\x00b\r\n\r\n",
    "folded header": GET + b"X: a\r\n b\r\n\r\n",
    "space before colon": GET + b"X : a\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: b\r\n\r\n",
    "odd host": b"GET /study/x/ HTTP/1.1\r\nHost: " + b"a" * 300 + b"\r\n\r\n",
    "two lengths": b"POST /study/x/answer HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "negative length": b"POST /study/x/answer HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "huge length": b"POST /study/x/answer HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999\r\n\r\n",
    "length and chunks": b"POST /study/x/answer HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "odd chunks": b"POST /study/x/answer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    "odd coding": b"POST /study/x/answer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, x\r\n\r\n",
    "cut body": b"POST /study/x/answer HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
    "cut header": GET + b"X-Cut: ",
}  # fmt: skip


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    return socket.create_connection((address.hostname, address.port), timeout=WAIT_S)


def talk(url: str, sent: bytes) -> bytes:
    """All that comes back when this is sent and the sending side is closed."""
    with closing(connect(url)) as client:
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        except OSError:  # refused before all was sent
            pass
        received = b""
        try:
            while part := client.recv(65_536):
                received += part
        except ConnectionResetError:
            pass
        return received


def statuses(received: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.\d (\d{3})", received)]


@pytest.fixture
def url(sqlite_workshop: Workshop, serve: Callable[..., str]) -> str:
    """A server of one process with four threads, over one study."""
    sqlite_workshop.create_study(name="x")
    return serve(sqlite_workshop, "--workers", "1", "--threads", "4")


def test_broken_requests_are_refused_and_slow_ones_stop_nobody(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    refuses_what_is_broken(url)
    answers_all_that_comes_in_one_go(url)
    goes_on_beside_slow_clients(url)
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "WORKER" not in said.upper()  # none died, and none was killed


def refuses_what_is_broken(url: str) -> None:
    found = {name: statuses(talk(url, sent)) for name, sent in BROKEN.items()}
    failed = {name: codes for name, codes in found.items() if any(code >= 500 and code != 501 for code in codes)}
    assert failed == {}
    refused = {
        "long line": [414],
        "many headers": [431],
        "long header": [431],
        "huge length": [413],
        "two lengths": [400],
        "length and chunks": [400],
        "odd chunks": [400],
        "odd host": [400],
        "NUL in the path": [404],
    }
    assert {name: found[name] for name in refused} == refused


def answers_all_that_comes_in_one_go(url: str) -> None:
    last = b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    received = talk(url, GET + b"\r\n" + GET + b"\r\n" + last)
    assert statuses(received) == [200, 200, 200]
    assert received.count(b'{"status":"ok"}') == 2


def goes_on_beside_slow_clients(url: str) -> None:
    """As long as they hold fewer than all threads, and at once when they have left."""
    with ExitStack() as slow:
        for beginning in (GET + b"X-Slow: ", b"POST /study/x/answer HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"):
            slow.enter_context(closing(connect(url))).sendall(beginning)
        for _ in range(50):  # who says nothing holds nothing
            slow.enter_context(closing(connect(url)))
        assert requests.get(f"{url}/health", timeout=WAIT_S).ok
        for _ in range(8):  # now more than there are threads
            slow.enter_context(closing(connect(url))).sendall(GET)
    assert requests.get(f"{url}/health", timeout=WAIT_S).ok
