"""Where the server keeps things, how it serves, and how it is told: arguments first, then the environment, then defaults."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from protocol import InputError
from protocol.place import Place, is_remote

SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


# Every REALISM_ variable; the last ones are for deploy/compose.yaml, which may share its file with a server.
SETTINGS = frozenset(
    f"REALISM_{name}"
    for name in (
        "INSTANCE", "DATABASE_URL", "STORE", "SECRET_KEY", "METRICS_TOKEN", "HOSTS", "PROXIES", "HTTPS", "ACCEL", "PRESIGN",
        "LIMITS", "RELEASE", "SUBNET", "WORK", "BACKUP_EVERY_S", "BACKUPS_KEPT", "APP_WORKERS", "APP_MEMORY", "APP_CPUS",
        "DB_MEMORY",
    )
)  # fmt: skip
HOST = re.compile(r"\.?[^\s/:@?#.]+(\.[^\s/:@?#.]+)*")


class ConfigError(InputError):
    """A setting that is missing or cannot be used."""


@dataclass(frozen=True)
class Config:
    """``instance`` holds the embedded database, the secret key and, where no other place is named, the pictures."""

    instance: Path
    database: str
    store_address: str = ""

    @property
    def store(self) -> Place:
        return Place(self.store_address or self.instance / "store")


@dataclass(frozen=True)
class Serving:
    """How the survey is served; the defaults are those of a laptop.

    ``hosts``: names under which the survey may be asked for; none: any. ``proxies``: reverse proxies in front whose
    X-Forwarded-* are believed. ``https``: browsers come by https alone. ``accel``: nginx's internal location of the
    store's folder. ``presign``: pictures come from the object store itself. ``limits``: rate limits hold.
    """

    hosts: tuple[str, ...] = ()
    proxies: int = 0
    https: bool = False
    accel: str = ""
    presign: bool = False
    limits: bool = True


def find_config(database: str | None = None, instance: Path | None = None, store: str | None = None) -> Config:
    """What the arguments say, else the environment, else the instance folder.

    Raises:
        ConfigError: if the store is a zip.
    """
    instance = (instance or Path(os.environ.get("REALISM_INSTANCE", "instance"))).resolve()
    database = database or from_environment("REALISM_DATABASE_URL") or f"sqlite:///{instance / 'realism.sqlite'}"
    return Config(instance, database, _store_address(store or os.environ.get("REALISM_STORE") or ""))


def find_serving() -> Serving:
    """What REALISM_HOSTS, _PROXIES, _HTTPS, _ACCEL, _PRESIGN and _LIMITS say, else the defaults.

    Raises:
        ConfigError: if one of them cannot be used.
    """
    return Serving(
        hosts=_hosts(os.environ.get("REALISM_HOSTS", "")),
        proxies=_count("REALISM_PROXIES"),
        https=_switch("REALISM_HTTPS", False),
        accel=_location(os.environ.get("REALISM_ACCEL", "")),
        presign=_switch("REALISM_PRESIGN", False),
        limits=_switch("REALISM_LIMITS", True),
    )


def _hosts(given: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in given.split(",") if name.strip())
    wrong = next((name for name in names if not HOST.fullmatch(name)), None)
    if wrong is not None:
        raise ConfigError(f"REALISM_HOSTS names {wrong!r}; give host names alone, such as survey.example.org")
    return names


def read_settings(file: Path) -> dict[str, str]:
    """The lines REALISM_…=value of a file; empty ones and those that begin with # are passed over.

    Raises:
        ConfigError: if it cannot be read, or holds anything else.
    """
    found = {}
    text = _read_setting(file, f"the settings file {file}", "check its path and who may read it")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not re.fullmatch(r"REALISM_[A-Z_]+", name):
            raise ConfigError(f"line {number} of {file} is no setting; write REALISM_…=value")
        if name.removesuffix("_FILE") not in SETTINGS:
            raise ConfigError(f"line {number} of {file} sets {name}, which is no setting; docs/serving.md lists them")
        found[name] = value.strip("\"'")
    return found


def _count(name: str) -> int:
    given = os.environ.get(name, "").strip() or "0"
    if not given.isdecimal() or int(given) > 10:
        raise ConfigError(f"{name} is {given!r}; give the number of reverse proxies in front, 0 to 10")
    return int(given)


def _switch(name: str, default: bool) -> bool:
    given = os.environ.get(name, "").strip().lower()
    if given not in ("", *SWITCHES):
        raise ConfigError(f"{name} is {given!r}; give 1 for yes or 0 for no")
    return SWITCHES.get(given, default)


def _location(given: str) -> str:
    location = given.strip().rstrip("/")
    if location and not re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", location):
        raise ConfigError(f"REALISM_ACCEL is {given!r}; give the path of nginx's internal location, such as /_store")
    return location


def from_environment(name: str) -> str:
    """A setting that may be secret: the variable ``name``, else what stands in the file that ``name``_FILE names; else "".

    Raises:
        ConfigError: if that file cannot be read, or is empty.
    """
    value = os.environ.get(name, "").strip()
    file = os.environ.get(f"{name}_FILE", "")
    if value or not file:
        return value
    value = _read_setting(Path(file), f"the file {file} of {name}_FILE", f"see that it is there, or set {name}")
    if not value:
        raise ConfigError(f"the file {file} of {name}_FILE is empty; write the value into it, or set {name}")
    return value


def _read_setting(path: Path, what: str, advice: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} cannot be read ({error}); {advice}") from error


def _store_address(given: str) -> str:
    address = given.removeprefix("file://")
    if address.lower().endswith(".zip"):
        raise ConfigError(
            f"the store cannot be a zip, such as {given}; give a folder or an address like s3://bucket/studies"
        )
    return address if not address or is_remote(address) else str(Path(address).resolve())


def read_secret(config: Config) -> str:
    """The key that signs cookies: REALISM_SECRET_KEY or its _FILE, else the file ``secret_key`` in the instance folder.

    Raises:
        ConfigError: if there is none, or it is shorter than 32 characters.
    """
    path = config.instance / "secret_key"
    make = "python3 -c 'import secrets; print(secrets.token_hex(32))'"
    secret = from_environment("REALISM_SECRET_KEY")
    where = "REALISM_SECRET_KEY" if secret else str(path)
    if not secret and path.exists():
        secret = _read_setting(path, f"secret key {path}", f"make it anew with: {make}")
    if not secret:
        raise ConfigError(
            f"there is no secret key in REALISM_SECRET_KEY, REALISM_SECRET_KEY_FILE or {path}; make one with: "
            f"mkdir -p {shlex.quote(str(config.instance))} && (umask 077; {make} > {shlex.quote(str(path))})"
        )
    if len(secret) < 32:
        raise ConfigError(
            f"the secret key in {where} has {len(secret)} characters, at least 32 are needed; make one with: {make}"
        )
    return secret
