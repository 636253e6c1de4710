"""Remakes the pictures of the README from the demonstration: python docs/pictures.py realism-demo

Serves the demonstration's study, takes the first steps of the survey in a real browser, and photographs survey and report.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
PORT = 8765


def main(original: Path) -> None:
    import chromium
    from playwright.sync_api import sync_playwright

    # A copy: whoever opens the survey for a picture must not become a participant of the demonstration.
    demo = Path(tempfile.mkdtemp()) / "demo"
    shutil.copytree(original, demo)
    command = [sys.executable, "-m", "realism", "serve", "--port", str(PORT), "--instance", str(demo / "instance")]
    server = subprocess.Popen(command)
    try:
        await_survey(f"http://127.0.0.1:{PORT}/health")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 900, "height": 600}, device_scale_factor=1.5)
            page.goto(f"http://127.0.0.1:{PORT}/study/demo/")
            page.click("text=I agree")
            page.click("#ready .primary")  # the screen suits
            understand(page)
            page.click("#begin")
            page.wait_for_selector("#left img.seen")
            page.screenshot(path=ROOT / "docs" / "survey.png")
            page.goto((demo / "report" / "report.html").resolve().as_uri())
            page.set_viewport_size({"width": 1000, "height": 1000})
            page.screenshot(path=ROOT / "docs" / "report.png")
            browser.close()
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(demo.parent)


def understand(page: Page) -> None:
    """Answer the comprehension question of the instructions right: the task stands in bold above it."""
    task = page.inner_text(".task").rstrip(". ").replace(" of each picture", "")
    page.click(f'label.choice:has-text("{task}")')
    page.click("form .primary")
    page.wait_for_selector("#begin:visible")


def await_survey(url: str) -> None:
    for _ in range(300):
        try:
            requests.get(url, timeout=5)
            return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise TimeoutError(f"no survey at {url}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
