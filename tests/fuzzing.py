"""Requests that nobody's browser would send: strategies for all their parts in, the application's replies out.

REALISM_FUZZ=N asks every fuzz test for N examples of each thing that it tries, drawn anew each time; without it each draws
the same few.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes
from zlib import crc32

from conftest import SECRET, Workshop
from flask import Flask, got_request_exception
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer

from study_app import create_app
from study_app.config import Serving
from study_app.entrance import preview_tokens, simulation_tokens

T = TypeVar("T")
ASKED = int(os.environ.get("REALISM_FUZZ", "0"))


def fuzzed(examples: int, **more: Any) -> settings:
    """Settings of a fuzz test that draws so many examples, unless REALISM_FUZZ asks for more."""
    return settings(
        max_examples=max(ASKED, examples),
        derandomize=not ASKED,
        database=None,
        deadline=None,
        print_blob=bool(ASKED),
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
        **more,
    )


def drawn_for(what: str) -> Callable[[T], T]:
    """Decorates a fuzz test that runs for several things: the few examples of each are drawn apart."""
    return (lambda test: test) if ASKED else seed(crc32(what.encode()))


def open_app(workshop: Workshop, report: Path | None = None) -> Flask:
    """The survey without its rate limits, which would refuse nearly everything that is sent here."""
    return create_app(workshop.engine, workshop.config.store, SECRET, report, Serving(limits=False))


@dataclass(frozen=True)
class Sent:
    """A request as a server would hand it on: the path still quoted, header values as latin-1."""

    path: bytes
    method: str = "GET"
    query: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(app: Flask, sent: Sent) -> Reply:
    """What the application replies, by its WSGI callable; an exception that it met, and made a page of, is raised."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": sent.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(sent.path).decode("latin-1"),
        "RAW_URI": sent.path.decode("latin-1"),
        "QUERY_STRING": sent.query.decode("latin-1"),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "CONTENT_LENGTH": str(len(sent.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(sent.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in sent.headers:
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    started: list[Any] = []
    with _raised(app) as met:
        parts = app.wsgi_app(environ, lambda status, headers, _info=None: started.extend((status, headers)))
        try:
            body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
    for error in met:
        raise error
    status, headers = started
    return Reply(int(status.split()[0]), dict(headers), body, dict(_cookies(headers)))


@contextmanager
def _raised(app: Flask) -> Iterator[list[BaseException]]:
    met: list[BaseException] = []

    def note(_app: Flask, exception: BaseException, **_more: object) -> None:
        met.append(exception)

    with got_request_exception.connected_to(note, app):
        yield met


def _cookies(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if name.lower() == "set-cookie":
            key, _, rest = value.partition("=")
            yield key, rest.partition(";")[0]


# What stands in requests.

NASTY = (
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\ufeff", "\u202e", "\x7f", "\x1b[2J", "é" * 99, "\U0001f600", "\u0661",
    "x" * 300, "x" * 70_000, "0", "-0", "-1", "007", "1e999", "-1e999", "1_0", "NaN", "Infinity", "9" * 400, str(2**63), str(2**64),
    "1" * 5000, "true", "null", "[]", "{}", "'; DROP TABLE studies; --", "<script>alert(1)</script>", "{{7*7}}", "%s%n", "%00", "%ff",
    "../../../etc/passwd", "..%2f..%2f", "//evil.example", "https://evil.example/", "\\\\evil", "http:evil", "file:///etc/passwd",
    "spots", "left", "real", "f", "34", "de", "ar", "zz", "de_AT.UTF-8@euro", "phone", "on",
)  # fmt: skip


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


nasty_bytes = st.sampled_from(NASTY).map(as_bytes) | st.binary(max_size=40) | st.text(max_size=20).map(as_bytes)
PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "?#")
# Quoted, or no more so than a server insists on. One branch each where they stand beside others: "right | quoted" is right every other time.
quoted = st.tuples(nasty_bytes, st.booleans()).map(
    lambda one: quote_from_bytes(one[0], safe="" if one[1] else PRINTABLE).encode()
)
# A server refuses line ends and NUL in the value of a header.
header_text = st.sampled_from([text for text in NASTY if text.isascii() and text.isprintable()]) | st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60
)

json_text = st.recursive(
    st.sampled_from(
        ["null", "true", "0", "-0", "1", "-1", "700", "700.0", "1e999", "-1e999", "NaN", "Infinity", "1E400", "0.1e-400",
         str(2**31), str(2**63), str(2**64), "9" * 5000, '"left"', '"real"', '"\\ud800"', '"\\u0000"', '"\0"', '""', "{", "[", '"', "\ufeff1"]
    ),
    lambda one: st.lists(one, max_size=3).map(lambda found: f"[{','.join(found)}]")
    | st.lists(st.tuples(st.sampled_from(["a", "rt", "response", "trial_index"]), one), max_size=3).map(
        lambda found: "{" + ",".join(f'"{key}":{value}' for key, value in found) + "}"
    ),
    max_leaves=6,
) | st.sampled_from(["[" * 5000, "[" * 5000 + "]" * 5000, '{"a":' * 3000 + "1" + "}" * 3000])  # fmt: skip


def json_object(known: Iterable[str], right: dict[str, str]) -> st.SearchStrategy[bytes]:
    """Objects that begin as a right one, whose members are then replaced, doubled, dropped and joined by others."""
    member = st.tuples(st.sampled_from(sorted({*known, "real_side", "__proto__", "é"})), json_text)

    def build(changes: list[tuple[str, str]], dropped: set[str], replaces: bool) -> bytes:
        members = [(key, value) for key, value in right.items() if key not in dropped]
        members = list({**dict(members), **dict(changes)}.items()) if replaces else [*members, *changes]
        return as_bytes("{" + ",".join(f'"{key}":{value}' for key, value in members) + "}")

    return st.builds(
        build, st.lists(member, max_size=3), st.sets(st.sampled_from(sorted(right)), max_size=2), st.booleans()
    )


def form(fields: Iterable[str], values: st.SearchStrategy[bytes] = quoted) -> st.SearchStrategy[tuple[str, bytes]]:
    """The content type and the body of a form; some are no form at all."""
    name = st.sampled_from(sorted(fields)).map(str.encode) | quoted
    pairs = st.lists(st.tuples(name, values | quoted), max_size=8)
    urlencoded = pairs.map(lambda found: b"&".join(key + b"=" + value for key, value in found))
    parts = pairs.map(
        lambda found: b"".join(
            b'--limit\r\nContent-Disposition: form-data; name="' + key + b'"\r\n\r\n' + value + b"\r\n"
            for key, value in found
        )
    )
    whole = parts.map(lambda body: body + b"--limit--\r\n")
    files = whole.map(lambda body: body.replace(b'"\r\n\r\n', b'"; filename="a\\..\\b.png"\r\n\r\n'))
    multipart = st.just("multipart/form-data; boundary=limit")
    odd_type = st.sampled_from(
        ["", "text/plain", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "a/b; charset=utf-7",
         "multipart/form-data; boundary=" + "x" * 300, "application/x-www-form-urlencoded; charset=utf-16"]
    ) | header_text  # fmt: skip
    usual = st.just("application/x-www-form-urlencoded")
    return (
        st.tuples(usual, urlencoded)
        | st.tuples(usual, urlencoded)
        | st.tuples(multipart, whole | files | parts)
        | st.tuples(odd_type, urlencoded | whole | st.binary(max_size=100))
    )


ODD_HEADERS = {
    "Accept-Language": ["de", "*", "de;q=abc", "en;q=1e999", "-", "de-AT-1996;q=0.5,,,;;", "q=0", "x" * 3000, "zh;q=-1", "a" * 9 + ",*;q=0"],
    "Accept": ["application/json", "*/*", "text/html;q=nan", "application/json;q=0", "/", ",,,", "text/html, application/json;q=2"],
    "Range": ["bytes=0-0", "bytes=-1", "bytes=99999999999999999999-", "bytes=5-2", "bytes=0-1,3-4", "bytes=", "lines=1-2", "bytes=-0",
              "bytes=a-b", "bytes=0-" + "9" * 400, "bytes=" + "0-1," * 500, "bytes=--1", "bytes=0-18446744073709551616"],
    "If-Range": ['"x"', "Wed, 21 Oct 2015 07:28:00 GMT", "W/"],
    "If-None-Match": ["*", '"', 'W/"a"'], "If-Modified-Since": ["Wed, 99 Oct 99999 07:28:00 GMT", "0"],
    "Host": ["", "evil.example", "127.0.0.1:99999999", "[::1", "a b", "127.0.0.1:8000@evil", "\xe9.example", "a" * 300, "..", "[]:x"],
    "X-Forwarded-For": ["1.2.3.4", "::1", "unknown", ",,,", "'", "1.2.3.4, " * 200, "\xff"],
    "X-Forwarded-Proto": ["https", "javascript", ""], "X-Forwarded-Host": ["evil.example", "[", ""], "X-Forwarded-Port": ["x", "-1"],
    "X-Forwarded-Prefix": ["/x", "//evil", "x"], "Forwarded": ["for=1.2.3.4;proto=https", ";;="],
    "X-Request-ID": ["abc", "x" * 5000, '"}{', "\xff", "a b", "../x"], "X-HTTP-Method-Override": ["DELETE"],
    "Authorization": ["Bearer x", "Basic !", "Bearer", "Digest a=", "Basic " + "=" * 99], "Origin": ["null", "https://evil.example", "http://[", "http://127.0.0.1:8000", "//[::1", "\xff"],
    "Referer": ["https://evil.example", "\xff"], "Sec-Fetch-Site": ["cross-site", "same-origin", "x"], "Transfer-Encoding": ["chunked", "x"],
    "Content-Length": ["-1", "abc", "999999999999", "1_0", "", "0x10", "+1", "\xb2"], "Content-Encoding": ["gzip", "x"], "Expect": ["100-continue", "x"],
    "User-Agent": ["\xff\xfe", ""], "Cookie": [";;;=", "realism", "realism=" + "x" * 5000, "=x; a=\"b", "realism=\xff"],
}  # fmt: skip

odd_headers = st.lists(
    st.sampled_from(sorted(ODD_HEADERS)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(ODD_HEADERS[name]) | header_text)
    ),
    max_size=3,
    unique_by=lambda header: header[0],
)


def odd_cookies(app: Flask, real: list[str], names: list[str]) -> st.SearchStrategy[str]:
    """Headers with cookies of others (``real``), cut, changed or signed otherwise, and rightly signed ones with odd contents."""
    with app.test_request_context("/"):
        sign = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    ids = st.sampled_from(["", "0" * 32, "x" * 500, "é"])
    study = st.sampled_from([*names, "gone"])
    offer = st.fixed_dictionaries({"whose": st.just(["human", None]), "session": ids})
    contents = st.fixed_dictionaries(
        {},
        optional={
            "sessions": st.dictionaries(study, ids, max_size=3),
            "aside": st.lists(ids, max_size=7),
            "offered": st.dictionaries(study, offer, max_size=3),
            "_permanent": st.booleans(),
            "other": st.integers() | st.text(max_size=5),
        },
    )
    value = st.sampled_from(real)
    made = [
        sign,
        URLSafeTimedSerializer("x" * 32, salt="cookie"),
        _tickets(SECRET),
    ]
    signed = st.tuples(contents, st.sampled_from(made)).map(lambda one: f"realism={one[1].dumps(one[0])}")
    cut = st.tuples(value, st.integers(0, 400)).map(lambda one: one[0][: one[1]])
    changed = st.tuples(value, st.integers(0, 400)).map(lambda one: one[0][: one[1]] + "A" + one[0][one[1] + 1 :])
    odd = value | signed | cut | changed | header_text
    return odd | st.tuples(odd, value).map("; ".join)


def odd_tokens(names: list[str]) -> list[bytes]:
    """Rightly signed tokens, each of which belongs elsewhere or is what it should be."""
    made = [serializer(SECRET).dumps(name) for serializer in (preview_tokens, simulation_tokens) for name in names]
    sessions = {name: hashlib.md5(name.encode()).hexdigest() for name in [*names, "gone"]}
    made += [_tickets(SECRET).dumps({"session": one, "study": name, "arguments": {}}) for name, one in sessions.items()]
    made += [_tickets("y" * 32).dumps({"study": names[0]}), made[0][:-3], made[0] + "x"]
    return [token.encode() for token in made]


def _tickets(secret: str) -> URLSafeTimedSerializer:
    """As the consent forms' are signed."""
    return URLSafeTimedSerializer(secret, salt="consent form", signer_kwargs={"digest_method": hashlib.sha256})
