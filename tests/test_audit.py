"""What is promised of security: the written list against the code, the audit of packages, and passwords in what is told."""

import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import click
import pytest
from click.testing import CliRunner
from conftest import SECRET

import realism
from study_app import doctor, limits
from study_app.config import Config

# Secrets.

PASSWORD = "hunter2-hunter2"
SLOW = ("report", "doctor")  # a second and more of imports


def commands_with_database():
    """Every command that takes --database, with something for each argument that it needs."""

    def walk(command, path):
        for name, one in sorted(getattr(command, "commands", {}).items()):
            yield from walk(one, (*path, name))
        if any("--database" in option.opts for option in command.params):
            yield path, command

    context = click.Context(realism.cli)
    for name in realism.cli.list_commands(context):
        yield from walk(realism.cli.get_command(context, name), (name,))


def test_no_command_tells_the_password_of_the_database(tmp_path, monkeypatch):
    url = f"postgresql://realism:{PASSWORD}@127.0.0.1:1/none?password={PASSWORD}"
    monkeypatch.setenv("REALISM_SECRET_KEY", SECRET)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    said = {}
    for path, command in commands_with_database():
        if path[-1] in SLOW:
            continue
        given = ["-n", "1"] if path[-1] == "invite" else []
        for one in command.params:
            if one.param_type_name == "argument":
                given.append("file" if isinstance(one.type, click.Path) else "spots")
            elif one.required:
                given += [one.opts[0], str(tmp_path / "out")]
        done = CliRunner().invoke(realism.cli, [*path, *given, "--database", url, "--instance", str(tmp_path / "i")])
        said[" ".join(path)] = done.output + repr(done.exception) + str(done.exception)
    said["doctor"] = str(doctor._database(Config(tmp_path, url)))
    assert set(said) >= {"db upgrade", "serve", "study list", "study invite", "simulate", "export"}
    assert [command for command, told in said.items() if PASSWORD in told] == []
    assert sum("127.0.0.1" in told for told in said.values()) >= len(said) - 3  # they came as far as the database


# The list of requirements, and the audit.

ROOT = Path(realism.__file__).parent
# OWASP ASVS 5.0.0: the requirements of levels 1 and 2 (OWASP_Application_Security_Verification_Standard_5.0.0_en.csv).
ASVS = """
1.1:1-2 1.2:1-9 1.3:1-11 1.4:1-3 1.5:1-2 2.1:1-3 2.2:1-3 2.3:1-4 2.4:1 3.2:1-2 3.3:1-4 3.4:1-6 3.5:1-5 3.7:1-2 4.1:1-3 4.2:1
4.3:1-2 4.4:1-4 5.1:1 5.2:1-3 5.3:1-2 5.4:1-3 6.1:1-3 6.2:1-12 6.3:1-4 6.4:1-4 6.5:1-5 6.6:1-3 6.8:1-4 7.1:1-3 7.2:1-4 7.3:1-2
7.4:1-5 7.5:1-2 7.6:1-2 8.1:1-2 8.2:1-3 8.3:1 8.4:1 9.1:1-3 9.2:1-4 10.1:1-2 10.2:1-2 10.3:1-4 10.4:1-11 10.5:1-5 10.6:1-2 10.7:1-3
11.1:1-2 11.2:1-3 11.3:1-3 11.4:1-4 11.5:1 11.6:1 12.1:1-3 12.2:1-2 12.3:1-4 13.1:1 13.2:1-5 13.3:1-2 13.4:1-5 14.1:1-2 14.2:1-4
14.3:1-3 15.1:1-3 15.2:1-3 15.3:1-7 16.1:1 16.2:1-5 16.3:1-4 16.4:1-3 16.5:1-3 17.1:1 17.2:1-4 17.3:1-2
"""


def asvs_ids() -> list[str]:
    sections = [part.split(":") for part in ASVS.split()]
    spans = [(section, numbers.split("-")) for section, numbers in sections]
    return [f"{section}.{i}" for section, span in spans for i in range(int(span[0]), int(span[-1]) + 1)]


def test_every_requirement_is_answered_once_and_what_answers_it_is_there():
    written = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    answered = []
    for row in re.findall(r"^\| (\d+\.\d+\.\d+[^|]*)\| ([^|]*)\| (.*) \|$", written, re.MULTILINE):
        assert row[1].strip() in ("✓", "◐", "✗", "–"), row
        for part in row[0].strip().split(", "):
            first, _, last = part.partition("–")
            section, _, number = first.rpartition(".")
            numbers = range(int(number), int((last or first).rpartition(".")[2]) + 1)
            answered += [f"{section}.{i}" for i in numbers]
    assert sorted(answered) == sorted(asvs_ids())
    assert len(answered) == 70 + 183
    for text in (written, (ROOT / "SECURITY.md").read_text(encoding="utf-8")):
        for path in re.findall(r"`((?:study_app|tests|docs|deploy|protocol|requirements|\.ci)/[\w./-]*)`", text):
            assert (ROOT / path).exists(), path


def test_written_limits_are_those_of_the_code():
    written = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    for what, most in (("beginnings", "start"), ("refusals", "declined")):
        assert re.search(rf"^\| {what} .* {limits.PER_MINUTE[f'entrance.{most}']} a minute", written, re.MULTILINE)
    assert f"{limits.PER_MINUTE['step_pages.take']} a minute" in written
    assert f"{limits.PER_MINUTE['step_pages.plate']} a minute" in written
    assert f"{limits.SESSION_BURST} at once, {limits.SESSION_PER_S} a second" in written


class _Advisories(BaseHTTPRequestHandler):
    """OSV's interface, which knows of one vulnerable release."""

    def do_POST(self):  # http.server's name
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_known = (asked["package"]["name"], asked["version"]) == ("jinja2", "2.10")
        found = [{"id": "GHSA-462w-v97r-4m45", "aliases": ["CVE-2019-10906"], "affected": []}] if is_known else []
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": found}).encode())

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("pins", "code", "told"),
    [
        (
            "jinja2==2.10\nitsdangerous==2.2.0\n",
            1,
            "jinja2 2.10: CVE-2019-10906, GHSA-462w-v97r-4m45; mended in no release yet",
        ),
        (None, 0, "NOT DONE. No advisory service can be reached from here"),
    ],
)
def test_audit_fails_on_what_is_known_and_says_where_nobody_can_be_asked(tmp_path, pins, code, told):
    (tmp_path / "pins.txt").write_text(pins or "itsdangerous==2.2.0\n")
    server = HTTPServer(("127.0.0.1", 0), _Advisories)
    Thread(target=server.serve_forever, daemon=True).start()
    osv = f"http://127.0.0.1:{server.server_port if pins else 1}/v1/query"
    unreachable = {"HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
    command = [sys.executable, str(ROOT / ".ci" / "audit"), str(tmp_path / "pins.txt"), osv]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **unreachable})
    server.shutdown()
    assert done.returncode == code, done.stdout + done.stderr
    assert told in done.stdout
