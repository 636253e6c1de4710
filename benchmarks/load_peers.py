"""What the survey's load is compared with, each driven by the same participants: the bare insert of bare_app.py, and oTree."""

import json
import os
import random
import subprocess
import sys
import time
import uuid
from pathlib import Path
from urllib.request import Request, urlopen

from bare_app import TRIALS, Response, open_bare
from load_client import FORM, JSON, Browser, LoadError, Manner, Sitting, think
from load_server import ROOT, Server, free_port
from sqlalchemy import func, select
from sqlalchemy.orm import Session


class Bare:
    """A trial is one row read, an answer one row inserted; there is nothing else."""

    name = "bare insert"

    def __init__(self, database: str, folder: Path, workers: int, threads: int) -> None:
        self.database = database.replace("postgresql://", "postgresql+psycopg://")
        subprocess.run([sys.executable, "benchmarks/bare_app.py", self.database], check=True, cwd=ROOT)
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "--chdir", "benchmarks", "--worker-class", "gthread"]
        command += ["--workers", str(workers), "--threads", str(threads), "--keep-alive", "30"]
        command += ["--bind", f"127.0.0.1:{port}", "--log-level", "warning", "bare_app:create()"]
        self.server = Server(command, port, folder / "bare.log", {"BARE_DATABASE": self.database})

    def prepare(self) -> None:
        """All is there."""

    async def open_form(self, browser: Browser) -> None:
        """There is no consent."""

    async def begin(self, browser: Browser, form: None) -> None:
        """There is no beginning."""

    async def answer_trials(self, browser: Browser, manner: Manner, sitting: Sitting) -> None:
        sitting.public_id = uuid.uuid4().hex
        for index in range(1, TRIALS + 1):
            began = time.perf_counter()
            await browser.get(f"/trial/{index}", "next")
            paused = await think(manner)
            side, rt_ms = random.choice(("left", "right")), random.randrange(200, 3000)
            given = {"participant": sitting.public_id, "trial_id": index, "chosen_side": side, "rt_ms": rt_ms}
            await browser.post("/answer", json.dumps(given).encode(), JSON, "answer")
            browser.traffic.note("trial", time.perf_counter() - began - paused)
            sitting.acknowledged[index] = (side, rt_ms)

    async def finish(self, browser: Browser, sitting: Sitting) -> None:
        """There is no end."""

    def find_losses(self, sittings: list[Sitting]) -> list[str]:
        acknowledged = sum(len(sitting.acknowledged) for sitting in sittings)
        names = [sitting.public_id for sitting in sittings]
        with Session(open_bare(self.database)) as db:
            stored = db.scalar(select(func.count()).where(Response.participant.in_(names)))
        return [] if stored == acknowledged else [f"{acknowledged} answers were acknowledged, {stored} are stored"]


SETTINGS = """
from os import environ
SESSION_CONFIGS = [dict(name="spots", app_sequence=["spots"], num_demo_participants=1)]
SESSION_CONFIG_DEFAULTS = dict(real_world_currency_per_point=1.0, participation_fee=0.0)
PARTICIPANT_FIELDS, SESSION_FIELDS = [], []
LANGUAGE_CODE, REAL_WORLD_CURRENCY_CODE, USE_POINTS = "en", "USD", True
ADMIN_USERNAME, ADMIN_PASSWORD, SECRET_KEY = "admin", "admin", "0123456789"
INSTALLED_APPS = ["otree"]
"""
APP = f"""
from otree.api import *
class C(BaseConstants):
    NAME_IN_URL, PLAYERS_PER_GROUP, NUM_ROUNDS = "spots", None, {TRIALS}
class Subsession(BaseSubsession):
    pass
class Group(BaseGroup):
    pass
class Player(BasePlayer):
    side = models.StringField(choices=["left", "right"])
    rt_ms = models.IntegerField()
class Choose(Page):
    form_model, form_fields = "player", ["side", "rt_ms"]
class End(Page):
    @staticmethod
    def is_displayed(player):
        return player.round_number == C.NUM_ROUNDS
page_sequence = [Choose, End]
"""
TEMPLATE = (
    "{{ block title }}Which is real?{{ endblock }}{{ block content }}{{ formfields }}{{ next_button }}{{ endblock }}"
)


class Otree:
    """A page of one form for each round: sending it leads to the next round's page. Production mode, its own database."""

    name = "oTree"

    def __init__(self, database: str, folder: Path, participants: int) -> None:
        project = folder / "otree"
        for made in ("spots", "_static"):
            (project / made).mkdir(parents=True)
        (project / "settings.py").write_text(SETTINGS)
        (project / "spots" / "__init__.py").write_text(APP)
        for page in ("Choose", "End"):
            (project / "spots" / f"{page}.html").write_text(
                TEMPLATE if page == "Choose" else "{{ block content }}{{ endblock }}"
            )
        otree = os.environ.get("OTREE_BIN", "otree")
        self.participants, self.folder = participants, project
        path = os.pathsep.join((str(Path(otree).parent), os.environ["PATH"]))  # it calls itself
        environment = {"OTREE_PRODUCTION": "1", "PATH": path}
        if database.startswith("postgresql"):
            environment["DATABASE_URL"] = database
        subprocess.run(
            [otree, "resetdb", "--noinput"],
            cwd=project,
            check=True,
            env={**os.environ, **environment},
            stdout=sys.stderr,
        )
        port = free_port()
        self.server = Server(
            [otree, "prodserver", str(port)], port, folder / "otree.log", environment, project, "/demo"
        )

    async def open_form(self, browser: Browser) -> str:
        """The address of the first page."""
        return self._link

    def prepare(self) -> None:
        """A session for all participants, made as an experimenter makes it."""
        body = json.dumps({"session_config_name": "spots", "num_participants": self.participants}).encode()
        address = f"http://127.0.0.1:{self.server.port}/api/sessions"
        with urlopen(Request(address, body, {"Content-Type": JSON}), timeout=300) as reply:
            self._link = "/" + json.loads(reply.read())["session_wide_url"].split("/", 3)[3]

    async def begin(self, browser: Browser, form: str) -> None:
        browser.path, _ = await browser.follow(await browser.get(form, "start"))

    async def answer_trials(self, browser: Browser, manner: Manner, sitting: Sitting) -> None:
        for index in range(1, TRIALS + 1):
            if "/Choose/" not in browser.path:
                raise LoadError(f"oTree shows {browser.path}")
            began = time.perf_counter()
            paused = await think(manner)
            side, rt_ms = random.choice(("left", "right")), random.randrange(200, 3000)
            reply = await browser.post(browser.path, f"side={side}&rt_ms={rt_ms}".encode(), FORM, "answer")
            browser.path, _ = await browser.follow(reply)
            browser.traffic.note("trial", time.perf_counter() - began - paused)
            sitting.acknowledged[index] = (side, rt_ms)

    async def finish(self, browser: Browser, sitting: Sitting) -> None:
        if "/End/" not in browser.path:
            raise LoadError(f"oTree ends at {browser.path}")

    def find_losses(self, sittings: list[Sitting]) -> list[str]:
        """oTree's tables are its own: that it led on past the last round is believed."""
        return []
