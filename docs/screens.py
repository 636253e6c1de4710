"""Remakes the pictures of the survey's screens, and the page that shows them: python docs/screens.py realism-demo

Makes studies of the demonstration's pair sets in a scratch folder, walks them in a real browser, on a desktop and on a phone,
and photographs every screen into docs/screens/; docs/screens.md shows them.
"""

import io
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pictures import await_survey, understand
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize

ROOT = Path(__file__).resolve().parent.parent
sys.path.extend([str(ROOT), str(ROOT / "tests")])  # after this folder: both have a pictures.py
PORT = 8766
Take = Callable[[str, str], None]  # photographs the page: name and caption of the screen
SIZES: dict[str, ViewportSize] = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}
OUT = ROOT / "docs" / "screens"

HEAD = """\
title = {{ en = "Which flower is real?", ar = "أي زهرة حقيقية؟" }}
name = "{name}"
{top}
[conditions]
cgan = "{demo}/pairs/cgan"
wgan = "{demo}/pairs/wgan"
[assignment]
conditions = "within"
"""
EVERYTHING = """\
languages = ["en", "ar"]
[trials]
practice = 1
main = 4
blocks = 2
[exposure]
duration_ms = 300
[questions.age]
kind = "number"
label = { en = "How old are you?", ar = "كم عمرك؟" }
min = 18
required = true
[questions.edit]
kind = "likert"
label = { en = "How often do you edit photographs?", ar = "كم مرة تعدّل الصور؟" }
low = { en = "never", ar = "أبدًا" }
high = { en = "daily", ar = "يوميًا" }
[questions.device]
kind = "single"
label = { en = "What do you take most photographs with?", ar = "بماذا تلتقط معظم صورك؟" }
options = { phone = { en = "a phone", ar = "هاتف" }, camera = { en = "a camera", ar = "كاميرا" } }
[questions.unclear]
kind = "text"
label = { en = "Was anything unclear?", ar = "هل كان هناك شيء غير واضح؟" }
when = "after"
[screen]
calibration = true
[colour_vision]
plates = 3
min_correct = 2
[debriefing]
text = { en = "The fakes were coloured by two neural networks.", ar = "لُوّنت الصور المزيفة بشبكتين عصبيتين." }
show_score = true
"""
SIMPLE = """\
[trials]
practice = 1
main = 2
[exposure]
duration_ms = "unlimited"
[screen]
check = false
"""
STUDIES = {
    "everything": EVERYTHING,
    "sequential": 'presentation = "sequential"\n' + SIMPLE,
    "one-picture": 'task = "yes_no"\n' + SIMPLE,
    "unlimited": SIMPLE,
}


@dataclass
class Album:
    """Screens in the order they are met: their names, and what is on them."""

    captions: dict[str, str] = field(default_factory=dict)

    def photograph(self, page: Page, size: str, name: str, caption: str) -> None:
        page.evaluate("Promise.all([...document.images].map((one) => one.decode().catch(() => {})))")
        page.wait_for_timeout(150)  # focus rings are there
        data = page.screenshot(full_page=True)
        with Image.open(io.BytesIO(data)) as picture:
            picture.convert("RGB").save(OUT / f"{name}-{size}.webp", quality=82, method=6)
        self.captions[name] = caption


def main(demo: Path) -> None:
    import chromium
    from playwright.sync_api import sync_playwright

    OUT.mkdir(exist_ok=True)
    for old in OUT.glob("*.webp"):
        old.unlink()
    album = Album()
    with tempfile.TemporaryDirectory() as folder:
        make_studies(Path(folder), demo.resolve())
        instance = ["--instance", folder]
        server = subprocess.Popen([sys.executable, "-m", "realism", "serve", "--port", str(PORT), *instance])
        try:
            await_survey(f"http://127.0.0.1:{PORT}/health")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
                for size, viewport in SIZES.items():
                    walk_all(browser, size, viewport, album)
                run("study", "close", "unlimited", *instance)
                for size, viewport in SIZES.items():
                    page = browser.new_page(viewport=viewport)
                    page.goto(address("unlimited"))
                    album.photograph(page, size, "closed", "A study that takes no more participants")
                browser.close()
        finally:
            server.terminate()
            server.wait()
    write_page(album)


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "realism", *arguments], check=True)


def address(study: str) -> str:
    return f"http://127.0.0.1:{PORT}/study/{study}/"


def make_studies(instance: Path, demo: Path) -> None:
    run("db", "upgrade", "--instance", str(instance))
    (instance / "secret_key").write_text(secrets.token_hex(32))
    for name, differing in STUDIES.items():
        top, sections = re.split(r"^(?=\[)", differing, maxsplit=1, flags=re.MULTILINE)
        path = instance / f"{name}.toml"
        path.write_text(HEAD.format(name=name, top=top, demo=demo) + sections)
        run("study", "create", str(path), "--instance", str(instance))


def walk_all(browser: Browser, size: str, viewport: ViewportSize, album: Album) -> None:
    """Every study once, each as a participant of its own."""

    def visit(study: str, **context: Any) -> tuple[Page, Take]:
        page = browser.new_context(viewport=viewport, **context).new_page()
        page.goto(address(study))
        return page, lambda name, caption: album.photograph(page, size, name, caption)

    _walk_everything(*visit("everything"))
    for study, caption in (
        ("unlimited", "Pictures that stay until the answer"),
        ("sequential", "One after the other: the second picture"),
        ("one-picture", "One picture: real or fake?"),
    ):
        _walk_trial(*visit(study), study, caption)
    page, take = visit("unlimited")
    page.click("text=I do not want to take part")
    take("declined", "Whoever declines")
    page, take = visit("unlimited", java_script_enabled=False)
    take("no-javascript", "Without JavaScript")
    page, take = visit("everything", locale="ar")
    take("arabic", "The first page in Arabic")
    page.click("#consent .primary")
    take("arabic-questions", "Questions in Arabic")


def _walk_trial(page: Page, take: Take, study: str, caption: str) -> None:
    page.click("text=I agree")
    understand(page)
    take(f"{study}-ready", f"Before the first trial ({study.replace('-', ' ')})")
    page.click("#begin")
    if study == "sequential":
        page.wait_for_selector("#show-second:visible")
        page.click("#show-second")
    page.wait_for_selector("[data-response]:not([disabled])")
    take(f"{study}-trial", caption)


def _walk_everything(page: Page, take: Take) -> None:
    """The longest road: every step that a study can have."""
    take("consent", "Language and consent")
    page.click("text=I agree")
    take("questions", "Questions before the trials")
    page.evaluate("document.querySelector('form').noValidate = true")
    page.click("form .primary")
    take("questions-wrong", "An answer is missing")
    page.fill("#q-age", "34")
    page.click("form .primary")
    page.wait_for_selector("#ready:visible")
    take("screen", "The screen check, with the size of a card")
    page.click("text=It is as large as my card")
    take("colour-vision", "Colour-vision plates")
    for box in page.query_selector_all("input[type=checkbox]"):
        box.check()
    page.click("form .primary")
    take("instructions", "Instructions, and a question on them")
    page.click(
        "label.choice >> nth=0"
        if "like better" in page.inner_text("label.choice >> nth=0")
        else 'label.choice:has-text("like better")'
    )
    page.click("form .primary")
    take("instructions-wrong", "The task was misunderstood")
    understand(page)
    page.click("#begin")
    page.wait_for_selector("[data-response]:not([disabled])")
    take("choose", "The pictures are gone: choose")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#continue:visible")
    take("feedback", "Feedback, in practice only")
    page.click("#continue")
    page.wait_for_selector("#go-on:visible")
    take("turn", "Practice is over")
    page.reload()
    page.wait_for_selector("#back:visible")
    take("back", "Back after a reload")
    page.click("#back button")
    page.click("#go-on")
    page.wait_for_selector("[data-response]:not([disabled])")
    page.context.set_offline(True)
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#notice:visible")
    take("offline", "No connection: the answer waits on the device")
    page.context.set_offline(False)
    answered = 1
    while answered < 4:
        page.wait_for_selector("[data-response]:not([disabled]), #rest-over:visible", timeout=20_000)
        if page.is_visible("#rest-over"):
            take("rest", "A rest between two blocks")
            page.click("#rest-over")
            page.wait_for_selector("#rest-over", state="hidden")
            continue
        before = page.get_attribute("#progress", "value")
        page.keyboard.press("ArrowLeft")
        answered += 1
        if answered < 4:
            page.wait_for_function(
                "before => document.querySelector('#progress').value > before || document.querySelector('#rest-over')?.offsetParent",
                arg=float(before or 0),
            )
    page.wait_for_selector("textarea, input[type=text]")
    take("questions-after", "Questions after the trials")
    page.click("form .primary")
    take("debriefing", "Debriefing, with the own score")
    page.click("form .primary")
    page.wait_for_selector("#code")
    take("done", "Thanks and the completion code")


def write_page(album: Album) -> None:
    rows = "\n".join(
        f"| {caption} | ![{caption}, on a desktop](screens/{name}-desktop.webp) | ![the same on a phone](screens/{name}-phone.webp) |"
        for name, caption in album.captions.items()
    )
    (ROOT / "docs" / "screens.md").write_text(
        "# Every screen of the survey\n\nMade by `python docs/screens.py realism-demo`, on the demonstration's pair sets.\n\n"
        f"| screen | desktop, 1280 × 800 | phone, 360 × 740 |\n| --- | --- | --- |\n{rows}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
