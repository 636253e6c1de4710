"""Where the server keeps things and how it is told: arguments first, then the environment, then the instance folder."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from protocol import InputError
from protocol.place import Place, is_remote


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


def find_config(database: str | None = None, instance: Path | None = None, store: str | None = None) -> Config:
    """What the arguments say, else the environment, else the instance folder.

    Raises:
        ConfigError: if the store is a zip.
    """
    instance = (instance or Path(os.environ.get("REALISM_INSTANCE", "instance"))).resolve()
    database = database or os.environ.get("REALISM_DATABASE_URL") or f"sqlite:///{instance / 'realism.sqlite'}"
    return Config(instance, database, _store_address(store or os.environ.get("REALISM_STORE") or ""))


def _store_address(given: str) -> str:
    address = given.removeprefix("file://")
    if address.lower().endswith(".zip"):
        raise ConfigError(
            f"the store cannot be a zip, such as {given}; give a folder or an address like s3://bucket/studies"
        )
    return address if not address or is_remote(address) else str(Path(address).resolve())


def read_secret(config: Config) -> str:
    """The key that signs cookies: REALISM_SECRET_KEY, else the file ``secret_key`` in the instance folder.

    Raises:
        ConfigError: if there is none, or it is shorter than 32 characters.
    """
    path = config.instance / "secret_key"
    make = "python3 -c 'import secrets; print(secrets.token_hex(32))'"
    secret = os.environ.get("REALISM_SECRET_KEY", "")
    where = "REALISM_SECRET_KEY" if secret else str(path)
    if not secret and path.exists():
        try:
            secret = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"secret key {path} cannot be read ({error}); make it anew with: {make}") from error
    if not secret:
        raise ConfigError(
            f"there is no secret key in REALISM_SECRET_KEY or {path}; make one with: "
            f"mkdir -p {shlex.quote(str(config.instance))} && (umask 077; {make} > {shlex.quote(str(path))})"
        )
    if len(secret) < 32:
        raise ConfigError(
            f"the secret key in {where} has {len(secret)} characters, at least 32 are needed; make one with: {make}"
        )
    return secret
