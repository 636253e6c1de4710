"""Two servers of the survey behind nginx, which can be killed and told to reload, and a crowd of people who take part."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import nginx
import requests
from conftest import SECRET, Workshop, free_port
from visitors import fields_of, title_of

from study_app.config import Config

PEOPLE = 4
THINKING_S = 0.05
PATIENCE_S = 60


def wait_for(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE_S} s"
        time.sleep(0.02)


def is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


class Server:
    """``realism serve`` as a process group of its own, told of its surroundings by files and environment alone."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = (folder / f"{self.port}.log").open("ab")
        (folder / "database_url").write_text(config.database)
        (folder / "secret_key").write_text(SECRET)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("REALISM_")},
            "REALISM_DATABASE_URL_FILE": str(folder / "database_url"),
            "REALISM_SECRET_KEY_FILE": str(folder / "secret_key"),
            "REALISM_STORE": str(config.store.address),
            "REALISM_INSTANCE": str(folder / "nothing-is-kept-here"),
            "REALISM_HOSTS": nginx.HOST,
            "REALISM_PROXIES": "1",
            "REALISM_HTTPS": "1",
            "REALISM_ACCEL": "/_store",
        }
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "realism",
            "serve",
            "--port",
            str(self.port),
            "--workers",
            "1",
            "--threads",
            "4",
        ]
        command += ["--log", "-"]
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def is_ready(self) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()
        return is_ready(self.url)

    def kill(self) -> None:
        """As a machine does that loses power: every process, in the same instant."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def workers(self) -> set[str]:
        """The processes that do the work."""
        return set(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split())

    def end(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self.log.close()


@dataclass
class Cluster:
    """Two servers, and the nginx before them at ``url``."""

    workshop: Workshop
    servers: list[Server]
    url: str
    certificate: str
    folder: Path

    def browser(self) -> requests.Session:
        browser = requests.Session()
        browser.trust_env = False  # else a bundle of certificates in the environment comes before ours
        browser.verify = self.certificate
        return browser

    def served_by(self) -> Counter[int]:
        """Which server answered how often, by its port, as nginx's log says."""
        lines = (self.folder / "access.log").read_text().splitlines()
        servers = [json.loads(line)["server"].split(", ")[-1] for line in lines if line.endswith("}")]
        return Counter(int(one.rsplit(":", 1)[1]) for one in servers if ":" in one)


@dataclass
class Crowd:
    """People who take part one after the other, some at the same time, until nobody is to begin any more.

    They ask again where the pages' script does: for the next trial, for a picture, and with an answer.
    """

    cluster: Cluster
    over: threading.Event = field(default_factory=threading.Event)
    acknowledged: dict[tuple[str, int], int] = field(default_factory=dict)  # session and trial: the time sent along
    finished: list[str] = field(default_factory=list)  # titles of the last pages
    asked_again: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    times: Iterator[int] = field(default_factory=lambda: count(300))

    def work(self) -> None:
        try:
            while not self.over.is_set():
                with self.cluster.browser() as browser:
                    self._take_part(browser)
        except BaseException as error:  # told by the test
            self.errors.append(error)
            raise

    def _take_part(self, browser: requests.Session) -> None:
        base = f"{self.cluster.url}/study/spots/"
        action, ticket = fields_of(browser.get(base).text)
        page = browser.post(self.cluster.url + action, data={"ticket": ticket})
        page = browser.post(page.url)  # the instructions are read
        assert page.ok, page.text
        assert page.url.endswith("/survey"), page.url
        state = self._ask(browser, "GET", base + "next")
        while not state["done"]:
            index = state["trial"]["trial_index"]
            for address in state["trial"]["pictures"].values():
                self._ask(browser, "GET", self.cluster.url + address)
            public_id = address.split("/")[-3]
            time.sleep(THINKING_S)
            rt = next(self.times)
            body = {"trial_index": index, "response": "left", "rt": rt, "elapsed_ms": rt}
            reply = self._ask(browser, "POST", base + "answer", json=body)
            assert reply["stored"]
            self.acknowledged[public_id, index] = rt
            state = reply["next"]
        done = browser.get(base + "on")
        assert done.ok, done.text
        self.finished.append(title_of(done.text))

    def _ask(self, browser: requests.Session, method: str, address: str, **sent):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < deadline, self.asked_again
            try:
                reply = browser.request(method, address, timeout=20, **sent)
                if reply.ok:
                    return reply.json() if reply.headers["Content-Type"] == "application/json" else reply.content
                assert reply.status_code >= 500, reply.text
                self.asked_again.append(f"{method} {reply.status_code}")
            except requests.RequestException as error:
                self.asked_again.append(f"{method} {type(error).__name__}")
            time.sleep(0.1)


@contextmanager
def working(cluster: Cluster) -> Iterator[Crowd]:
    """People at work while the block runs; those who have begun finish."""
    crowd = Crowd(cluster)
    threads = [threading.Thread(target=crowd.work) for _ in range(PEOPLE)]
    for one in threads:
        one.start()
    try:
        yield crowd
    finally:
        crowd.over.set()
        for one in threads:
            one.join(timeout=PATIENCE_S)
    assert not [one for one in threads if one.is_alive()], "somebody never finished"
    assert not crowd.errors
