"""Remakes docs/colours.jpg from two pair sets of the same photographs: python docs/colours.py CGAN_PAIRS WGAN_PAIRS

Columns: the first two photographs of each class, in the pair sets' own order. Rows: grayscale, real, the one, the other.
"""

import sys
from collections import defaultdict
from pathlib import Path

from PIL import Image

from protocol.pairset import read_pairset

OUT = Path(__file__).resolve().parent / "colours.jpg"
A_CLASS, GAP = 2, 4  # columns; pixels


def main(first: Path, second: Path) -> None:
    sets = {folder: {pair.id: pair for pair in read_pairset(folder).pairs} for folder in (first, second)}
    by_class = defaultdict(list)
    for pair in sets[first].values():
        if pair.id in sets[second]:
            by_class[pair.tags].append(pair)
    shown = [pair for tags in sorted(by_class) for pair in by_class[tags][:A_CLASS]]
    columns = []
    for pair in shown:
        real = Image.open(first / pair.real.file)
        fakes = (Image.open(folder / sets[folder][pair.id].fake.file) for folder in (first, second))
        columns.append((real.convert("L").convert("RGB"), real, *fakes))
    width, height = columns[0][1].size
    size = (len(columns) * (width + GAP) - GAP, len(columns[0]) * (height + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    for x, column in enumerate(columns):
        for y, picture in enumerate(column):
            sheet.paste(picture, (x * (width + GAP), y * (height + GAP)))
    sheet.save(OUT, quality=90, optimize=True)
    print(f"{OUT}: {len(columns)} photographs")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
