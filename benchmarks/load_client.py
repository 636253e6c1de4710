"""Whole participants over HTTP, many in one process: servers' addresses in, what each sent and how long replies took out.

A plain keep-alive client, because it shares the cores with the server that it measures. Who gets no answer asks again, the
very same, as the survey's page does (static/network.js), of the next server where there are several.
"""

import asyncio
import html
import json
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
TICKET = re.compile(r'name="ticket" value="([^"]+)"')
ACTION = re.compile(r'<form id="consent" method="post" action="([^"]+)"')
CODE = re.compile(r'<output id="code"[^>]*>([^<]+)<')
PUBLIC_ID = re.compile(r"/picture/([0-9a-f]+)/")


class LoadError(Exception):
    """A reply that no participant should get."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    cookies: tuple[str, ...]
    body: bytes


class Wire(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self) -> None:
        self._seen = bytearray()
        self._reply: asyncio.Future[Reply] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, request: bytes, timeout_s: float) -> Reply:
        """Raises OSError if the connection is lost, TimeoutError if nothing comes."""
        if not self.is_open:
            raise ConnectionError("the connection was closed before")
        assert self._transport is not None
        self._seen.clear()
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(timeout_s):
            return await self._reply

    def data_received(self, data: bytes) -> None:
        self._seen += data
        end = self._seen.find(b"\r\n\r\n")
        if end < 0 or self._reply is None or self._reply.done():
            return
        first, *lines = self._seen[:end].decode("latin-1").split("\r\n")
        pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        headers = dict(pairs)
        body = _whole(bytes(self._seen[end + 4 :]), headers)
        if body is None:
            return
        cookies = tuple(value.split(";")[0] for name, value in pairs if name == "set-cookie")
        self._reply.set_result(Reply(int(first.split()[1]), headers, cookies, body))
        if headers.get("connection", "").lower() == "close":
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error or ConnectionError("the connection was closed instead of an answer"))


def _whole(received: bytes, headers: Mapping[str, str]) -> bytes | None:
    """The body, once all of it is there."""
    if headers.get("transfer-encoding") != "chunked":
        return received if len(received) >= int(headers.get("content-length", 0)) else None
    if not received.endswith(b"0\r\n\r\n"):
        return None
    body, rest = b"", received
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            return body
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


@dataclass
class Traffic:
    """What all participants met: seconds by kind of request, and every failure that was asked again."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def note(self, kind: str, seconds: float) -> None:
        self.seconds.setdefault(kind, []).append(seconds)


@dataclass
class Browser:
    """One participant's: its cookies, its connection, and the servers that it may ask.

    After ``pauses_s``, the last of them over and over, it asks again; ``timeout_s`` is for one request.
    """

    ports: Sequence[int]
    traffic: Traffic
    pauses_s: Sequence[float] = (0.5, 1, 2, 4, 8)
    timeout_s: float = 20
    cookies: dict[str, str] = field(default_factory=dict)
    path: str = ""
    _wire: Wire | None = None
    _server: int = 0

    async def get(self, path: str, kind: str = "page") -> Reply:
        return await self._until_answered(kind, "GET", path, b"", "")

    async def post(self, path: str, body: bytes, content: str, kind: str = "page") -> Reply:
        return await self._until_answered(kind, "POST", path, body, content)

    async def follow(self, reply: Reply) -> tuple[str, Reply]:
        """Where redirections lead, and what stands there."""
        path = ""
        while reply.status in (302, 303, 307):
            path = "/" + reply.headers["location"].removeprefix("http://").split("/", 1)[1]
            reply = await self.get(path)
        return path, reply

    async def _until_answered(self, kind: str, method: str, path: str, body: bytes, content: str) -> Reply:
        attempt, began = 0, time.perf_counter()
        while True:
            try:
                reply = await self._ask(method, path, body, content)
            except (OSError, TimeoutError) as error:
                problem = f"{method} {path}: {type(error).__name__} {error}"
                self._give_up_connection()
            else:
                if reply.status < 500 and reply.status != 429:
                    self.traffic.note(kind, time.perf_counter() - began)
                    if reply.status >= 400:
                        raise LoadError(f"{method} {path} was answered with {reply.status}: {reply.body[:300]!r}")
                    return reply
                problem = f"{method} {path}: {reply.status}"
            self.traffic.failures.append(problem)
            pause = self.pauses_s[min(attempt, len(self.pauses_s) - 1)]
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            attempt += 1

    async def _ask(self, method: str, path: str, body: bytes, content: str) -> Reply:
        port = self.ports[self._server % len(self.ports)]
        if self._wire is None or not self._wire.is_open:
            async with asyncio.timeout(self.timeout_s):
                _, self._wire = await asyncio.get_running_loop().create_connection(Wire, "127.0.0.1", port)
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        if self.cookies:
            head += "Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items()) + "\r\n"
        if method == "POST":
            head += f"Content-Type: {content}\r\nContent-Length: {len(body)}\r\n"
        reply = await self._wire.ask(head.encode() + b"\r\n" + body, self.timeout_s)
        for cookie in reply.cookies:
            name, _, value = cookie.partition("=")
            self.cookies[name] = value
        return reply

    def _give_up_connection(self) -> None:
        self.close()
        self._server += 1

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
        self._wire = None


@dataclass
class Sitting:
    """What one participant was promised: every answer (side, rt in ms) that the server said is stored, and the code."""

    public_id: str = ""
    acknowledged: dict[int, tuple[str, int]] = field(default_factory=dict)
    code: str = ""


@dataclass(frozen=True)
class Manner:
    """How participants go about their trials: seconds of thinking, and whether they look at the pictures."""

    think_s: float = 0
    pictures: bool = True


async def take_part(browser: Browser, study: str, manner: Manner, sitting: Sitting) -> None:
    """From the consent form to the code.

    Raises:
        LoadError: if the survey refuses something.
    """
    await begin(browser, study, await open_form(browser, study))
    await answer_trials(browser, study, manner, sitting)
    await finish(browser, study, sitting)


async def open_form(browser: Browser, study: str) -> tuple[str, bytes]:
    """Where the consent form is sent to, and what."""
    page = (await browser.get(f"/study/{study}/")).body.decode()
    ticket, action = TICKET.search(page), ACTION.search(page)
    if ticket is None or action is None:
        raise LoadError(f"/study/{study}/ has no consent form")
    return html.unescape(action[1]), b"ticket=" + ticket[1].encode()


async def begin(browser: Browser, study: str, form: tuple[str, bytes]) -> None:
    """Consent, and read what comes before the trials; a form that has become too old is opened once more."""
    path, _ = await browser.follow(await browser.post(*form, FORM, "start"))
    if path.partition("?")[0] == f"/study/{study}/" and "cookies=missing" not in path:
        path, _ = await browser.follow(await browser.post(*await open_form(browser, study), FORM, "start"))
    while "/step/" in path:
        path, _ = await browser.follow(await browser.post(path, b"", FORM))
    if not path.endswith("/survey"):
        raise LoadError(f"the study leads to {path or 'nowhere'} instead of its trials")


async def finish(browser: Browser, study: str, sitting: Sitting) -> None:
    _, reply = await browser.follow(await browser.get(f"/study/{study}/on"))
    code = CODE.search(reply.body.decode())
    if code is None:
        raise LoadError("the last page has no code")
    sitting.code = code[1]


async def answer_trials(browser: Browser, study: str, manner: Manner, sitting: Sitting) -> None:
    """Every trial from the next one on, each picture once."""
    state = json.loads((await browser.get(f"/study/{study}/next", "next")).body)
    fetched: set[str] = set()
    while not state["done"]:
        index = state["trial"]["trial_index"]
        shown = (state["trial"], *state["upcoming"])
        addresses = [address for trial in shown for address in trial["pictures"].values()]
        found = PUBLIC_ID.search(addresses[0])
        sitting.public_id = found[1] if found else ""
        began = time.perf_counter()
        for address in addresses if manner.pictures else ():
            if address not in fetched:
                await browser.get(address, "picture")
                fetched.add(address)
        paused = await think(manner)
        side, rt_ms = random.choice(("left", "right")), random.randrange(200, 3000)
        answer = {"trial_index": index, "response": side, "rt": rt_ms, "elapsed_ms": float(rt_ms)}
        reply = await browser.post(f"/study/{study}/answer", json.dumps(answer).encode(), JSON, "answer")
        browser.traffic.note("trial", time.perf_counter() - began - paused)
        stored = json.loads(reply.body)
        if stored.get("stored") is not True or stored.get("trial_index") != index:
            raise LoadError(f"the answer to trial {index} was answered with {stored}")
        sitting.acknowledged[index] = (side, rt_ms)
        state = stored["next"]


async def think(manner: Manner) -> float:
    """Think; the seconds it took."""
    began = time.perf_counter()
    if manner.think_s:
        await asyncio.sleep(manner.think_s * random.uniform(0.5, 1.5))
    return time.perf_counter() - began
