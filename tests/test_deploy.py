"""What deploy/ says, checked by linters and by doing it: no engine for images is needed, and none is there where the tests run."""

import configparser
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import click
import nginx
import pytest
import requests
import yaml
from cluster import is_ready, wait_for
from conftest import SECRET, free_port

from realism import cli
from study_app.serve import GRACEFUL_S, KEEPALIVE_S, THREADS

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
NGINX_CONF = nginx.CONF.read_text()
ONCE = {"migrate", "realism"}  # services that end by themselves


def tool(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A program that was installed beside this Python."""
    command = [str(Path(sys.executable).parent / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, what follows) in order, of all stages."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def said(instruction: str) -> str:
    """What follows the last of these instructions."""
    return [rest for word, rest in dockerfile() if word == instruction][-1]


def health_command() -> list[str]:
    return list(json.loads(said("HEALTHCHECK").split("CMD", 1)[1]))


@pytest.fixture(scope="module")
def services() -> dict[str, dict]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"])


def unit(name: str) -> dict[str, dict[str, str]]:
    """The sections of a unit file; of a setting that is given more than once, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string((DEPLOY / name).read_text())
    return {section: dict(parser[section]) for section in parser.sections()}


def assert_command_is_ours(words: list[str]) -> None:
    """Its subcommand, options and arguments are taken; nothing is run."""
    command, context = cli, click.Context(cli, info_name="realism")
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, list(words))
        assert found is not None
        command, context = found, click.Context(found, context, info_name=name)
    command.make_context(context.info_name, list(words), parent=context.parent)


def test_dockerfile_passes_its_linter():
    checked = tool("hadolint", DEPLOY / "Dockerfile")
    assert (checked.returncode, checked.stdout) == (0, "")


def test_compose_file_passes_its_schema():
    checked = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert checked.returncode == 0, checked.stdout


def test_no_service_has_rights_or_room_it_does_not_need(services):
    assert set(services) == {"app-1", "app-2", "migrate", "backup", "realism", "nginx", "db"}
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert {"mem_limit", "pids_limit"} <= set(service), name
        assert "privileged" not in service, name
        assert service["restart"] == "unless-stopped" if name not in ONCE else service.get("restart", "no") == "no", (
            name
        )
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]
    assert said("USER") == "10001:10001"


def test_secrets_are_files_and_stand_in_no_setting(services):
    assert services["db"]["environment"]["POSTGRES_PASSWORD_FILE"] == "/run/secrets/postgres_password"
    for name, service in services.items():
        for setting in service.get("environment", {}):
            assert not re.search("(PASSWORD|SECRET_KEY|DATABASE_URL|TOKEN)$", setting), f"{name}: {setting}"
        for secret in service.get("secrets", []):
            assert f"/run/secrets/{secret}" in service["environment"].values(), f"{name}: {secret}"
    given = [line for line in (DEPLOY / "env.example").read_text().splitlines() if re.match("[A-Z]", line)]
    assert given == ["REALISM_HOSTS=survey.example.org", "REALISM_RELEASE=latest"]


def test_schema_is_upgraded_before_servers_start_and_they_before_nginx(services):
    for name in ("app-1", "app-2"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert services["nginx"]["depends_on"][name] == {"condition": "service_healthy"}
    assert services["migrate"]["command"] == ["db", "upgrade"]


def test_nginx_knows_each_server_and_may_only_read_the_pictures(services):
    apps = sorted(name for name in services if name.startswith("app-"))
    assert re.findall(r"^\s*server (app-\d):8000", NGINX_CONF, re.MULTILINE) == apps
    known = [f"{name}:{services[name]['networks']['back']['ipv4_address']}" for name in apps]
    assert services["nginx"]["extra_hosts"] == known
    for name in (*apps, "nginx"):
        assert "store:/srv/realism/store:ro" in services[name]["volumes"]
    settings = services["app-1"]["environment"]
    assert f"alias {settings['REALISM_STORE']}/;" in NGINX_CONF
    assert f"location {settings['REALISM_ACCEL']}/ {{" in NGINX_CONF


def test_those_outside_wait_longer_than_the_server_inside(services):
    """nginx closes an idle connection before the server does, and nobody kills a server that finishes its requests."""
    upstream = NGINX_CONF[NGINX_CONF.index("upstream realism") : NGINX_CONF.index("log_format")]
    assert int(re.search(r"keepalive_timeout (\d+)s", upstream)[1]) < KEEPALIVE_S
    for name in ("app-1", "app-2"):
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > GRACEFUL_S + 5
    assert int(unit("realism.service")["Service"]["TimeoutStopSec"]) > GRACEFUL_S + 5


def test_database_has_connections_for_every_thread_of_both_servers(services):
    most = int(services["db"]["command"][-1].removeprefix("max_connections="))
    workers = int(re.search(r":-(\d+)", services["app-1"]["command"][-1])[1])
    assert (
        2 * (2 * workers * THREADS) < most - 20
    )  # two servers; a thread reads on one connection and writes on another


def test_settings_of_deploy_are_settings_of_the_program():
    program = "".join(file.read_text() for file in (ROOT / "study_app").glob("*.py"))
    compose = (DEPLOY / "compose.yaml").read_text()
    for file in DEPLOY.iterdir():
        for name in set(re.findall(r"REALISM_[A-Z_]+\b", file.read_text())):
            read = f'"{name.removesuffix("_FILE")}"' in program
            assert read or f"${{{name}:" in compose, f"{file.name}: {name} is read by nobody"


def test_alerts_watch_what_is_counted():
    rules = [
        rule for group in yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
    ]
    assert len({rule["alert"] for rule in rules}) == 5
    counted = (ROOT / "study_app" / "metrics.py").read_text()
    for rule in rules:
        for name in re.findall(r"realism_[a-z_]+", rule["expr"]):
            assert f'"{re.sub("_(total|bucket)$", "", name)}"' in counted, name
        for endpoint in re.findall('endpoint="([^"]+)"', rule["expr"]):
            module, view = endpoint.split(".")
            assert callable(getattr(importlib.import_module(f"study_app.{module}"), view))


def test_guide_names_files_that_are_there():
    guide = (ROOT / "docs" / "deployment.md").read_text()
    for address in re.findall(r"\]\(([^)#]+)\)", guide):
        assert (ROOT / "docs" / address).exists(), address
    for file in DEPLOY.iterdir():
        assert file.name in guide or file.name == "realism-backup.timer", file.name


def test_commands_of_deploy_are_commands_of_the_program(services):
    assert json.loads(said("ENTRYPOINT")) == ["realism"]
    assert_command_is_ours(json.loads(said("CMD")))
    assert_command_is_ours(services["migrate"]["command"])
    assert_command_is_ours([re.sub(r"\$\{.*:-(.*)\}", r"\1", word) for word in services["app-1"]["command"]])
    in_shell = re.search(r"realism (db backup [^|]+)", services["backup"]["command"][0])[1]
    assert_command_is_ours(shlex.split(in_shell.replace("$$KEEP", "48")))
    for name in ("realism.service", "realism-backup.service"):
        program, *words = shlex.split(unit(name)["Service"]["ExecStart"])
        assert program == "/opt/realism/bin/realism"
        assert_command_is_ours(words)
    with pytest.raises(click.UsageError, match="No such option"):  # this check can fail
        assert_command_is_ours(["serve", "--nonsense"])


@pytest.mark.parametrize("name", ["realism.service", "realism-backup.service"])
def test_units_run_without_rights_and_write_to_their_own_folders(name):
    service = unit(name)["Service"]
    assert service["User"] == "realism"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == ""
    writable = service.get("ReadWritePaths", "").split() + [
        f"/var/lib/{one}" for one in service.get("StateDirectory", "").split()
    ]
    assert set(writable) <= {"/var/lib/realism", "/var/backups/realism"}


def copied_context(folder: Path) -> Path:
    """What .dockerignore leaves of the repository, as COPY would get it."""
    folder.mkdir()
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source = ROOT / line.removeprefix("!")
            if source.is_dir():
                shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder)
    return folder


def in_clean_folder(folder: Path, unpacked: Path) -> dict[str, str]:
    """The environment of the image: what the Dockerfile sets, over nothing else that is ours."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("REALISM_", "PYTHON"))}
    for word, rest in dockerfile():
        if word == "ENV":
            own |= {name: value for name, value in (one.split("=", 1) for one in rest.split()) if name != "PATH"}
    changed = {"REALISM_INSTANCE": folder / "instance", "REALISM_STORE": folder / "store", "PYTHONPATH": unpacked}
    assert {"REALISM_INSTANCE", "REALISM_STORE"} <= set(own)
    return own | {name: str(value) for name, value in changed.items()} | {"REALISM_SECRET_KEY": SECRET}


def test_steps_of_the_dockerfile_make_a_survey_that_is_healthy_and_stops_when_told(tmp_path):
    """From the files that .dockerignore leaves: the wheel is built, and started as the image starts it, outside the repository."""
    context = copied_context(tmp_path / "context")
    for word, rest in dockerfile():
        if word == "COPY" and not rest.startswith("--from"):
            assert all(
                (context / source).exists() or (context / "requirements" / source).exists()
                for source in rest.split()[:-1]
            )
    # What is to be installed
    [listing] = [rest for word, rest in dockerfile() if word == "RUN" and "tomllib" in rest]
    program = re.search(r'python -c "(.*?)" > wanted', listing)[1]
    wanted = subprocess.run([sys.executable, "-c", program], cwd=context, capture_output=True, text=True, check=True)
    project = tomllib.loads((context / "pyproject.toml").read_text())["project"]
    assert wanted.stdout.split("\n")[:-1] == project["dependencies"] + project["optional-dependencies"]["s3"]
    # The program itself, built by what pip calls
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    built = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=context, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    assert_nothing_is_missing(unpacked)
    # It runs
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    port = free_port()
    environment = in_clean_folder(tmp_path, unpacked)
    before = sorted(unpacked.rglob("*"))
    realism = [sys.executable, "-m", "realism"]
    upgrade = [*realism, "db", "upgrade"]
    upgraded = subprocess.run(upgrade, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert upgraded.returncode == 0, upgraded.stderr
    start = [*realism, *json.loads(said("CMD"))]
    start[start.index("--port") + 1] = str(port)
    log = (tmp_path / "log").open("w")
    server = subprocess.Popen(start, cwd=elsewhere, env=environment, stdout=log, stderr=log)
    try:
        health = [word.replace(":8000", f":{port}") for word in health_command()]
        health[0] = sys.executable
        assert subprocess.run(health, env=environment, capture_output=True, check=False).returncode == 1  # not yet
        wait_for(lambda: is_ready(f"http://127.0.0.1:{port}"), "the survey")
        assert subprocess.run(health, env=environment, capture_output=True, check=False).returncode == 0
        styled = requests.get(f"http://127.0.0.1:{port}/static/survey.css", timeout=20)
        assert styled.ok
        assert said("STOPSIGNAL") == "SIGTERM"
        server.terminate()
        assert server.wait(timeout=GRACEFUL_S + 10) == 0
    finally:
        server.kill()
        log.close()
    where = "from importlib.util import find_spec; print(find_spec('study_app').origin)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=elsewhere, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith(str(unpacked))  # and not the one of the repository
    assert sorted(unpacked.rglob("*")) == before  # a root file system that is read-only does
    assert list(elsewhere.iterdir()) == []


def assert_nothing_is_missing(unpacked: Path) -> None:
    """Every file of our packages is in the wheel: code, pages, translations, migrations, generators."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    for package in {name.split(".")[0] for name in packages}:
        files = {file.relative_to(ROOT) for file in (ROOT / package).rglob("*") if file.is_file()}
        ours = {file for file in files if "__pycache__" not in file.parts and file.suffix not in (".pot", ".cfg")}
        assert not {file for file in ours if not (unpacked / file).exists()}
