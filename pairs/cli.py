"""The command ``realism pairs``: pair sets from any generator, chosen, checked and looked at. Nothing here needs torch."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from pairs.options import FILE, FOLDER, HELP, LICENCE, OUT, REPLACE, SOURCE_NAME, Size, chooses, encodes, tell_written
from pairs.progress import show_bar
from pairs.selecting import Choice
from protocol.encoding import Encoder


@click.group(context_settings=HELP)
def pairs() -> None:
    """Make, import, select, check and show pair sets: the same photograph real and fake.

    A pair set is a folder, a .zip, or an address such as s3://bucket/set.

    \b
    Example:  realism pairs make --checkpoint runs/cgan --photos flowers/ --out pairs/cgan
              realism pairs import --real photos/ --fake theirs/ --condition theirs --out pairs/theirs
              realism pairs check pairs/cgan
    """


@pairs.command("import")
@click.option("--real", type=FOLDER, required=True, help="Folder of the real pictures.")
@click.option(
    "--fake", "fakes", type=FOLDER, multiple=True, required=True, help="Folder of a generator's pictures; repeatable."
)
@click.option(
    "--condition", "conditions", multiple=True, required=True, help="The condition's name; one for each --fake."
)
@click.option(
    "--table", type=FILE, help="CSV that says which go together: columns real, fake (or each condition's name), tags."
)
@click.option("--unpaired", is_flag=True, help="Pair each fake with a random real.")
@click.option(
    "--real-ending", default="", help="What real names end in, such as _real_B; files that do not are ignored."
)
@click.option("--fake-ending", default="", help="What fake names end in, such as _fake_B.")
@click.option(
    "--size",
    type=Size(),
    help="Of all pictures, such as 256 or 320x240.  [default: the fakes' own, if they all have one and no real is smaller; else the largest square in all]",
)
@OUT
@chooses
@encodes
@SOURCE_NAME
@LICENCE
@REPLACE
def import_(
    real: Path,
    fakes: tuple[Path, ...],
    conditions: tuple[str, ...],
    table: Path | None,
    unpaired: bool,
    real_ending: str,
    fake_ending: str,
    size: tuple[int, int] | None,
    out: str,
    choice: Choice,
    encoder: Encoder,
    source_name: str | None,
    licence: str | None,
    replace: bool,
) -> None:
    """Make pair sets of any generator's pictures: PNG, JPEG, WebP, TIFF or BMP of any depth, mode and profile.

    Files go together by name without suffix (photos/7.jpg with theirs/7.png), by a table, or at random. Every picture,
    real or fake, is turned upright, converted to sRGB, cut in the middle to the shape of --size, and brought to that
    size; without --size to that of the fakes if they all have one and no real is smaller, else to the largest square
    that all pictures hold. Nothing is enlarged. With several --fake, OUT holds a pair set for each condition, on the same photographs.

    \b
    Example:  realism pairs import --real photos/ --fake theirs/ --condition theirs --out pairs/theirs
              realism pairs import --real images/ --real-ending _real_B --fake images/ --fake-ending _fake_B \\
                --condition pix2pix --out pairs/pix2pix
    """
    from pairs import importing, matching
    from pairs.placing import refuse_taken
    from pairs.road import read_source
    from pairs.writing import About

    if len(fakes) != len(conditions):
        raise click.UsageError(f"{len(fakes)} --fake and {len(conditions)} --condition; give one name for each folder.")
    if (table is not None) + unpaired + bool(real_ending or fake_ending) > 1:
        raise click.UsageError("--table, --unpaired and the endings are three ways of pairing; choose one.")
    refuse_taken(out, conditions, replace=replace)
    if table:
        matched = matching.match_by_table(table, real, dict(zip(conditions, fakes, strict=True)))
    elif unpaired:
        matched = matching.match_unpaired(real, fakes, choice.seed)
    else:
        matched = matching.match_by_stem(real, fakes, real_ending, fake_ending)
    found = importing.look_at(matched.matches, progress=show_bar("Reading pictures"))
    stated = read_source(real)
    source = {
        "name": source_name or stated.get("name", real.resolve().name),
        "licence": licence or stated.get("licence", "not stated"),
        "split": "not stated",
    }
    about = [
        About(name, {"name": name, "checkpoint_sha256": None, "config": {"folder": folder.resolve().name}}, source)
        for name, folder in zip(conditions, fakes, strict=True)
    ]
    pairsets = importing.import_pairs(
        found,
        out,
        conditions=about,
        size=size or importing.common_size(found),
        pairing="table" if table else "unpaired" if unpaired else "name",
        encoder=encoder,
        replace=replace,
        progress=show_bar("Writing pairs"),
        choice=choice,
    )
    told = [_passed_over(matched.n_unmatched_real, matched.n_unmatched_fakes)]
    told += [] if size else [importing.why_common_size(found)]
    tell_written(out, pairsets, "; ".join(filter(None, told)))
    for note in dict.fromkeys(filter(None, map(importing.note_on_sizes, pairsets))):
        click.echo(f"note: {note}")


def _passed_over(n_real: int, n_fakes: int) -> str:
    passed = [f"{n} {what}" for n, what in ((n_real, "real"), (n_fakes, "fake")) if n]
    pictures = "picture" if n_real + n_fakes == 1 else "pictures"
    return f"passed over {' and '.join(passed)} {pictures} without a partner" if passed else ""


@pairs.command()
@click.argument("source", metavar="PAIRSET")
@OUT
@chooses
@REPLACE
def select(source: str, out: str, choice: Choice, replace: bool) -> None:
    """Choose pairs of a PAIRSET by tag, number or stratum, or leave some out with a reason; the files stay as they are.

    The choice depends on the seed and the photographs alone: it is the same in every condition's pair set.

    \b
    Example:  realism pairs select pairs/all --tag roses --tag tulips --stratified -n 40 --out pairs/some
              realism pairs select pairs/all --exclude 0f3a90c1b2d4='a watermark' --out pairs/clean
    """
    from pairs.selecting import select_pairs

    pairset = select_pairs(source, out, replace=replace, choice=choice)
    tell_written(out, [pairset], f"{len(choice.excluded)} excluded" if choice.excluded else "")


@pairs.command()
@click.argument("source", metavar="PAIRSET")
@OUT
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(["noise", "shuffled", "grayscale"]),
    multiple=True,
    help="Colour noise, the photograph's own colours at other places, or none; repeatable.  [default: all, in turn]",
)
@click.option("--condition", default="catch", show_default=True, help="The condition's name.")
@chooses
@REPLACE
def catch(source: str, out: str, kinds: tuple[Any, ...], condition: str, choice: Choice, replace: bool) -> None:
    """Make pairs whose answer is obvious from the real pictures of a PAIRSET: who misses them does not look.

    \b
    Example:  realism pairs catch pairs/all -n 10 --out pairs/catch
    """
    from pairs.catching import make_catch_pairs

    pairset = make_catch_pairs(source, out, kinds=kinds, condition=condition, replace=replace, choice=choice)
    tell_written(out, [pairset])


@pairs.command()
@click.argument("sources", metavar="PAIRSET...", nargs=-1, required=True)
@click.option("--out", required=True, help="The sheet: a name ending in .png or .html.")
@click.option("--title", default="", help="Above the sheet.")
@partial(chooses, unless_asked="12")
@click.option("--replace", is_flag=True, help="Replace a file that is there already.")
def show(sources: tuple[str, ...], out: str, title: str, choice: Choice, replace: bool) -> None:
    """Draw pairs in rows: grayscale, ground truth, and the fakes of every condition.

    Several PAIRSETs, or a folder that holds several, stand side by side on the photographs that they share. Without -n
    there are at most 12 rows.

    \b
    Example:  realism pairs show pairs/cgan pairs/wgan --out sheet.png
              realism pairs show pairs/ --tag roses -n 30 --out sheet.html
    """
    from pairs.showing import draw_sheet

    n_rows = draw_sheet(sources, out, title=title, replace=replace, choice=choice)
    click.echo(f"{out}: {n_rows} photographs")


@pairs.command("check")
@click.argument("address", metavar="PAIRSET")
@click.option("--accept", multiple=True, metavar="CUE", help="A cue that the study accepts, such as 'mean luminance'.")
@click.option("--design", type=FILE, help="A study.toml; what its [pairs] accept names is accepted.")
@click.option("--train-photos", type=FOLDER, help="Photographs that the generator was trained on: none may be shown.")
@click.option(
    "--run", type=click.Path(path_type=Path), help="The generator's run: its photos.csv lists those photographs."
)
@click.option("--page", type=FILE, help="Write a page with pictures, a name ending in .html.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the folds.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check_pairs(ctx: click.Context, address: str, as_json: bool, page: Path | None, **options: Any) -> None:
    """Verify a pair set, and look for cues that give the fake away without looking at content.

    Every image must be there, unchanged, readable and of the stated size. Then each cue is asked how often it alone
    would tell the fake: over 60 % is a warning, over 75 % a failure, unless the design accepts the cue by name. What
    the generator itself causes (blur, checkerboards) is content and only reported. Near-duplicates of photographs, and
    pairs that nobody could judge, are listed. Exit code 1 if something fails, 2 if the set does not verify.

    \b
    Example:  realism pairs check pairs/cgan --train-photos flowers/ --page check.html
    """
    from pairs.check import check_pairset, text_of
    from pairs.check_page import refuse_foreign, write_page

    if page:
        refuse_foreign(page)
    checked = check_pairset(address, progress=show_bar("Looking for give-aways"), **options)
    if page:
        write_page(checked, address, page)
    click.echo(json.dumps(checked.to_dict(), indent=1, ensure_ascii=False) if as_json else text_of(checked))
    if checked.verdict == "failure":
        ctx.exit(1)
