"""Remakes the tables of docs/protocols.md from the presets themselves: python docs/protocols.py"""

from pathlib import Path
from typing import Any

from protocol.presets import PRESETS, leaves

PAGE = Path(__file__).resolve().parent / "protocols.md"
BEGIN, END = "<!-- made by protocols.py: begin -->\n", "<!-- made by protocols.py: end -->\n"


def tables() -> str:
    """The sources, and each setting by preset; what the source leaves open in italics."""
    published = {name: dict(leaves(preset.published)) for name, preset in PRESETS.items()}
    ours = {name: dict(leaves(preset.ours)) for name, preset in PRESETS.items()}
    for name, preset in PRESETS.items():
        if preset.picture_px:
            published[name]["picture size"] = f"{preset.picture_px} × {preset.picture_px} px"
    keys = list(dict.fromkeys(key for values in (*published.values(), *ours.values()) for key in values))
    sections = [key.split(".")[0] for key in keys]
    keys.sort(key=lambda key: sections.index(key.split(".")[0]))  # a section stays together
    lines = [f"- **`{name}`**: {preset.source}." for name, preset in PRESETS.items()]
    lines += ["", f"| setting | {' | '.join(f'`{name}`' for name in PRESETS)} |", "| --- " * (len(PRESETS) + 1) + "|"]
    for key in keys:
        cells = [_cell(published[name].get(key), ours[name].get(key)) for name in PRESETS]
        lines.append(f"| {key if key == 'picture size' else f'`{key}`'} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(published: Any, ours: Any) -> str:
    value = ours if published is None else published
    if value is None:
        return "–"
    told = (
        "yes" if value is True else "no" if value is False else f"{value:,}" if isinstance(value, int) else str(value)
    )
    return told if published is not None else f"*{told}*"


def with_tables(page: str) -> str:
    """The page with its tables as they are now."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + tables() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
