"""How the server is told how to serve: the environment, files of secrets and a file of settings in, settings or one sentence out."""

import re
from pathlib import Path

import pytest
from conftest import SECRET

from study_app.config import (
    SETTINGS,
    ConfigError,
    Serving,
    find_config,
    find_serving,
    read_secret,
    read_settings,
)


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("HOSTS", "Study.example.org, www.example.org,", "hosts", ("study.example.org", "www.example.org")),
        ("PROXIES", "2", "proxies", 2),
        ("HTTPS", "yes", "https", True),
        ("ACCEL", "/_store/", "accel", "/_store"),
        ("PRESIGN", "1", "presign", True),
        ("LIMITS", "0", "limits", False),
    ],
)
def test_how_to_serve_is_told_by_the_environment(monkeypatch, name, value, field, expected):
    assert find_serving() == Serving()
    monkeypatch.setenv(f"REALISM_{name}", value)
    assert getattr(find_serving(), field) == expected


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("HOSTS", "https://b.example", "REALISM_HOSTS names 'https://b.example'; give host names alone"),
        ("PROXIES", "-1", "REALISM_PROXIES is '-1'; give the number of reverse proxies in front, 0 to 10"),
        ("PROXIES", "11", "REALISM_PROXIES is '11'"),
        ("HTTPS", "maybe", "REALISM_HTTPS is 'maybe'; give 1 for yes or 0 for no"),
        ("ACCEL", "_store", "REALISM_ACCEL is '_store'; give the path of nginx's internal location, such as /_store"),
        ("ACCEL", "/a\r\nX: y", "REALISM_ACCEL is"),
    ],
)
def test_setting_that_cannot_be_used_is_told(monkeypatch, name, value, told):
    monkeypatch.setenv(f"REALISM_{name}", value)
    with pytest.raises(ConfigError, match=told):
        find_serving()


def test_secrets_come_from_files(tmp_path, monkeypatch):
    for name in ("REALISM_SECRET_KEY", "REALISM_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REALISM_SECRET_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("REALISM_DATABASE_URL_FILE", str(tmp_path / "url"))
    (tmp_path / "key").write_text(SECRET + "\n")
    (tmp_path / "url").write_text("postgresql://realism@db/realism\n")
    config = find_config(instance=tmp_path)
    assert (config.database, read_secret(config)) == ("postgresql://realism@db/realism", SECRET)
    monkeypatch.setenv("REALISM_SECRET_KEY", SECRET[::-1])
    assert read_secret(config) == SECRET[::-1]
    monkeypatch.delenv("REALISM_SECRET_KEY")
    (tmp_path / "key").write_text("")
    with pytest.raises(
        ConfigError, match="the file .*key of REALISM_SECRET_KEY_FILE is empty; write the value into it"
    ):
        read_secret(config)
    (tmp_path / "key").unlink()
    with pytest.raises(ConfigError, match="the file .*key of REALISM_SECRET_KEY_FILE cannot be read"):
        read_secret(config)


def test_settings_file_holds_settings_alone(tmp_path):
    file = tmp_path / "settings"
    file.write_text("\n# words\nREALISM_HTTPS = 1\nREALISM_HOSTS='a.example'\n")
    assert read_settings(file) == {"REALISM_HTTPS": "1", "REALISM_HOSTS": "a.example"}
    file.write_text("REALISM_HTTPS=1\nPATH=/tmp\n")
    with pytest.raises(ConfigError, match="line 2 of .*settings is no setting; write REALISM_…=value"):
        read_settings(file)
    file.write_text("REALISM_HTPS=1\n")
    with pytest.raises(
        ConfigError, match="line 1 of .*settings sets REALISM_HTPS, which is no setting; docs/serving.md"
    ):
        read_settings(file)


def test_documentation_lists_every_setting():
    page = (Path(__file__).resolve().parent.parent / "docs" / "serving.md").read_text()
    of_compose = {
        "RELEASE",
        "SUBNET",
        "WORK",
        "BACKUP_EVERY_S",
        "BACKUPS_KEPT",
        "APP_WORKERS",
        "APP_MEMORY",
        "APP_CPUS",
        "DB_MEMORY",
    }
    assert [name for name in SETTINGS - {f"REALISM_{one}" for one in of_compose} if f"`{name}`" not in page] == []
    example = (Path(__file__).resolve().parent.parent / "deploy" / "env.example").read_text()
    named = {name.removesuffix("_FILE") for name in re.findall(r"^#?(REALISM_[A-Z_]+)=", example, re.MULTILINE)}
    assert named <= SETTINGS
