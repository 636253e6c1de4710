"""deploy/nginx.conf, run by a real nginx before two servers that only note what they are asked."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import nginx
import pytest
import requests
from conftest import free_port
from visitors import title_of


@dataclass
class Echo:
    """A server that notes what nginx asks of it, and hangs up without a word while ``falls`` is set."""

    falls: bool = False
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    port: int = 0


@contextmanager
def echoing() -> Iterator[Echo]:
    echo = Echo()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            echo.asked.append((self.command, self.path, dict(self.headers)))
            self.close_connection = echo.falls
            if not echo.falls:
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    echo.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield echo
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def behind_nginx(tmp_path):
    """Two echoing servers, and a function that asks the nginx before them."""
    port, plain_port = free_port(), free_port()
    with echoing() as first, echoing() as second:
        names = [f"127.0.0.1:{one.port}" for one in (first, second)]
        with nginx.running(tmp_path / "nginx", port, plain_port, names, tmp_path) as certificate:

            def ask(method: str, address: str, **more) -> requests.Response:
                url = (
                    f"http://{nginx.HOST}:{plain_port}" if more.pop("plain", False) else f"https://{nginx.HOST}:{port}"
                )
                with requests.Session() as browser:
                    browser.trust_env, browser.verify = False, str(certificate)
                    return browser.request(method, url + address, timeout=20, allow_redirects=False, **more)

            yield ask, first, second


FORGED = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "203.0.113.7",
    "Forwarded": "for=203.0.113.7;host=evil.example",
    "X-Request-ID": "forged",
    "X-Accel-Redirect": "/_store/evil",
    "X-Sendfile-Type": "X-Accel-Redirect",
    "Proxy": "evil.example",
}


def test_what_a_visitor_says_of_proxies_is_not_passed_on(behind_nginx):
    ask, first, second = behind_nginx
    assert ask("GET", "/study/spots/", headers=FORGED).text == "ok"
    [(_, _, headers)] = first.asked + second.asked
    told = {name: value for name, value in headers.items() if name in FORGED}
    request_id = told.pop("X-Request-ID")
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    assert told == {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"}
    assert headers["Host"] == nginx.HOST
    assert "Connection" not in headers  # kept alive


@pytest.mark.parametrize(
    ("method", "address", "twice"), [("GET", "next", 1), ("POST", "answer", 1), ("POST", "declined", 0)]
)
def test_request_whose_server_falls_is_sent_to_the_other_but_no_refusal_twice(behind_nginx, method, address, twice):
    ask, first, second = behind_nginx
    first.falls = True
    replies = [ask(method, f"/study/spots/{address}", data=b"{}") for _ in range(2)]  # each server is asked in turn
    assert sorted(reply.status_code for reply in replies) == ([200, 200] if twice else [200, 503])
    assert [len(first.asked), len(second.asked)] == [1, 1 + twice]


def test_visitor_learns_when_no_server_is_left(behind_nginx):
    ask, first, second = behind_nginx
    first.falls = second.falls = True
    reply = ask("GET", "/study/spots/")
    assert (reply.status_code, title_of(reply.text)) == (503, "One moment, please")
    assert (reply.headers["Retry-After"], reply.headers["Cache-Control"]) == ("5", "no-store")


def test_visitor_is_led_to_https_and_strange_names_get_no_answer(behind_nginx):
    ask, first, second = behind_nginx
    led = ask("GET", "/study/spots/?PROLIFIC_PID=5f3a", plain=True)
    assert led.headers["Location"] == f"https://{nginx.HOST}/study/spots/?PROLIFIC_PID=5f3a"
    with pytest.raises(requests.ConnectionError, match="RemoteDisconnected|Connection aborted"):
        ask("GET", "/", headers={"Host": "evil.example"})
    assert first.asked + second.asked == []
