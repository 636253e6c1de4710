"""Tables in, a page with these tables between its marks out."""

from pathlib import Path

METHODS = Path(__file__).resolve().parent.parent / "docs" / "methods.md"


def put_into(page: Path, mark: str, tables: str, how: str) -> None:
    """Replace what stands in the page between ``<!-- mark -->`` and ``<!-- end of mark -->``.

    Raises:
        ValueError: if the page lacks one of the two.
    """
    first, last = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(first)
    _, end, after = rest.partition(last)
    if not end:
        raise ValueError(f"{page.name} lacks {first.strip()} or {last} after it; put both where the tables belong")
    page.write_text(f"{before}{first}{how}\n\n{tables}\n{last}{after}", encoding="utf-8")
