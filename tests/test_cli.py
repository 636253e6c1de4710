"""The ``realism`` command: help everywhere, and bad input ends in one sentence, exit code 2 and no traceback."""

import json
import os
import socket
import subprocess
import sys

import click
import pytest
from commands import call
from conftest import SECRET
from pictures import copy_pictures

import realism
from study_app.doctor import Finding


def run(*arguments, cwd, **environment):
    """``realism`` as a process of its own, in a folder of its own."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("REALISM_")}
    return subprocess.run(
        [sys.executable, "-m", "realism", *map(str, arguments)],
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def refused(done, *expected):
    """Exit code 2, one sentence that says these things, nothing else."""
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    for words in expected:
        assert words in last
    return True


def commands(group, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(
    ("path", "command"),
    list(commands(realism.cli)),
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_every_command_has_help_with_an_example(path, command):
    with click.Context(command, info_name=" ".join(("realism", *path))) as context:
        text = command.get_help(context)
    assert command.help
    if not isinstance(command, click.Group):
        assert f"Example:  realism {' '.join(path)}" in text
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == []


def test_top_help_lists_every_command(tmp_path):
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    for name in realism.COMMANDS:
        assert f"\n  {name} " in done.stdout


def test_study_from_the_command_line(tmp_path):
    copy_pictures(tmp_path / "pairs", "cgan")
    (tmp_path / "study.toml").write_text(
        'title = "Spots"\n[trials]\npractice = 2\nmain = 8\n[conditions]\ncgan = "pairs"\n'
    )
    assert refused(run("study", "create", "study.toml", cwd=tmp_path), "does not exist", "realism db upgrade")
    assert "new" in call("db", "upgrade", cwd=tmp_path).stdout
    assert "as it was" in call("db", "upgrade", cwd=tmp_path).stdout
    created = call("study", "create", "study.toml", "--json", cwd=tmp_path)
    assert json.loads(created.stdout) == {"name": "spots", "path": "/study/spots/"}
    assert refused(call("study", "create", "study.toml", cwd=tmp_path), "'spots' exists already")
    listed = json.loads(call("study", "list", "--json", cwd=tmp_path).stdout)
    assert [(study["name"], study["state"], study["conditions"]) for study in listed] == [
        ("spots", "open", {"cgan": 24})
    ]
    assert "cgan: 24 pairs" in call("study", "show", "spots", cwd=tmp_path).stdout
    assert "is closed" in call("study", "close", "spots", cwd=tmp_path).stdout
    assert refused(call("study", "show", "spot", cwd=tmp_path), "there is no study 'spot'; there are spots")


def test_unknown_key_in_a_study_is_told(tmp_path):
    (tmp_path / "study.toml").write_text('title = "Spots"\n[condtions]\ncgan = "pairs"\n')
    call("db", "upgrade", cwd=tmp_path)
    assert refused(call("study", "create", "study.toml", cwd=tmp_path), "unknown key 'condtions'", "'conditions'")


def test_pair_set_with_one_altered_byte_is_told(tmp_path):
    copy_pictures(tmp_path / "pairs", "cgan")
    image = sorted((tmp_path / "pairs" / "images").iterdir())[0]
    data = bytearray(image.read_bytes())
    data[-5] ^= 1
    image.write_bytes(bytes(data))
    (tmp_path / "study.toml").write_text('title = "Spots"\n[trials]\nmain = 8\n[conditions]\ncgan = "pairs"\n')
    call("db", "upgrade", cwd=tmp_path)
    assert refused(call("study", "create", "study.toml", cwd=tmp_path), image.name.split("-")[0], "the manifest says")
    assert refused(call("pairs", "check", "pairs", cwd=tmp_path), image.name.split("-")[0], "the manifest says")


def test_serving_without_key_or_database_is_told(tmp_path):
    assert refused(call("serve", cwd=tmp_path), "does not exist", "realism db upgrade")
    call("db", "upgrade", cwd=tmp_path)
    assert refused(call("serve", cwd=tmp_path), "no secret key", "secrets.token_hex")
    assert refused(call("serve", cwd=tmp_path, REALISM_SECRET_KEY="short"), "has 5 characters, at least 32")


def test_port_in_use_is_told(tmp_path):
    call("db", "upgrade", cwd=tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--port", port, cwd=tmp_path, REALISM_SECRET_KEY=SECRET)
    assert refused(done, f"port {port}", "in use", "--port")


def test_demo_on_a_taken_port_stops_before_it_begins(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("demo", "--port", port, cwd=tmp_path)
    assert refused(done, f"port {port}", "in use", "--port")
    assert list(tmp_path.iterdir()) == []


def test_unreadable_secret_key_is_told(tmp_path):
    call("db", "upgrade", cwd=tmp_path)
    (tmp_path / "instance" / "secret_key").write_bytes(b"\xff\xfe" * 32)
    assert refused(call("serve", cwd=tmp_path), "secret key", "cannot be read", "make it anew")


@pytest.mark.parametrize(
    "options",
    [["--seed", "-1"], ["--side-bias", "nan"], ["--side-bias", "1000"], ["--pair-sd", "nan"], ["--lapse", "2"]],
)
def test_odd_simulation_settings_are_refused_by_name(tmp_path, options):
    done = call("simulate", "spots", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert options[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_report_of_nothing_is_told(tmp_path):
    call("db", "upgrade", cwd=tmp_path)
    assert refused(call("report", "nothing", "--out", "report", cwd=tmp_path), "there is no study 'nothing'")
    assert not (tmp_path / "report").exists()


def test_doctor_says_what_is_missing_and_what_to_do(tmp_path, monkeypatch):
    done = run("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 1
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert not findings["Database"]["ok"]
    assert "realism db upgrade" in findings["Database"]["found"]
    assert not findings["Secret key"]["ok"]
    call("db", "upgrade", cwd=tmp_path)
    monkeypatch.setattr("study_app.doctor._accelerator", lambda: Finding("GPU", False, "none", needed=False))  # slow
    assert call("doctor", cwd=tmp_path, REALISM_SECRET_KEY=SECRET).returncode == 0
