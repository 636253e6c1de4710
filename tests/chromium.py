"""The Chromium for the browser tests: on the PATH, else Playwright's own, else (as a command) installed.

Run as a command, ``python tests/chromium.py`` makes sure that there is one and says what it did.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """The path of a Chromium, or None. REALISM_CHROMIUM, when set, is taken at its word."""
    if os.environ.get("REALISM_CHROMIUM"):
        return os.environ["REALISM_CHROMIUM"]
    for name in NAMES:
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def install() -> None:
    """Playwright's own build where its download is to be had, else Debian's package."""
    print("No Chromium found: installing Playwright's build for the browser tests …", flush=True)
    if subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False).returncode == 0:
        return
    apt = shutil.which("apt-get")
    if apt is None:
        return
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    print("That failed: installing the system's package chromium …", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([*as_root, apt, "update", "-qq"], check=False, env=quiet)
    subprocess.run(
        [*as_root, apt, "install", "-y", "-qq", "chromium"], check=False, env=quiet, stdout=subprocess.DEVNULL
    )


def main() -> None:
    if find() is None:
        install()
    path = find()
    if path is None:
        sys.exit("No Chromium could be installed; install one, or set REALISM_CHROMIUM to the path of its executable")
    print(f"Chromium for the browser tests: {path}")


if __name__ == "__main__":
    main()
