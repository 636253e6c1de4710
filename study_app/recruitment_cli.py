"""Commands that bring participants in: a study's link, its personal links, and what became of them."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from study_app.cli import as_json, study, with_config
from study_app.config import Config, read_secret

if TYPE_CHECKING:
    from study_app.invitations import Invited


class WebAddress(click.ParamType):
    """The address of a server, without its last slash."""

    name = "address"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.startswith(("http://", "https://")):
            self.fail(f"{value!r} is no web address; give one such as https://studies.example.org", param, ctx)
        return value.rstrip("/")


with_url = click.option(
    "--url", default="http://127.0.0.1:8000", show_default=True, type=WebAddress(), help="Where the survey is served."
)


def preview_link(config: Config, url: str, name: str) -> str:
    """A link that walks a study; it works for a month, wherever the same secret key is used.

    Raises:
        ConfigError: if there is no secret key.
    """
    from study_app.entrance import preview_tokens
    from study_app.recruitment import PREVIEW, address_of_study

    return address_of_study(url, name, **{PREVIEW: preview_tokens(read_secret(config)).dumps(name)})


@study.command()
@click.argument("name", metavar="STUDY")
@with_config
@with_url
@click.option("--preview", is_flag=True, help="The link that walks the study; nothing of it counts.")
@as_json
def link(name: str, config: Config, url: str, preview: bool, as_json: bool) -> None:
    """Print the link for participants, or for the service that sends them.

    \b
    Example:  realism study link flowers --url https://studies.example.org
    """
    from study_app.db import open_migrated, reading
    from study_app.invitations import InvitationError
    from study_app.recruitment import participants_link
    from study_app.studies import design_of, find_study

    with reading(open_migrated(config.database)) as db:
        design = design_of(find_study(db, name))
    source = design.recruitment.source
    if source == "invitation" and not preview:
        raise InvitationError(
            f"study {name!r} is by invitation and has no link for all; make personal ones with 'realism study invite {name}'"
        )
    address = preview_link(config, url, name) if preview else participants_link(url, design)
    click.echo(
        json.dumps({"study": name, "source": source, "preview": preview, "link": address}) if as_json else address
    )


@study.command()
@click.argument("name", metavar="STUDY")
@with_config
@with_url
@click.option("-n", "number", type=click.IntRange(1, 10_000), help="So many links, labelled by number.")
@click.option(
    "--labels", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="A link for each line of this file."
)
@click.option("--csv", "out", type=click.Path(path_type=Path, dir_okay=False), help="Write label,link here.")
@as_json
def invite(
    name: str, config: Config, url: str, number: int | None, labels: Path | None, out: Path | None, as_json: bool
) -> None:
    """Make personal links to a study that is by invitation; each lets one person take part.

    \b
    Example:  realism study invite flowers --labels people.txt --url https://studies.example.org --csv links.csv
    """
    from study_app.db import open_migrated, writing
    from study_app.invitations import invite_labels, invite_number, read_labels
    from study_app.studies import find_study

    if (number is None) == (labels is None):
        raise click.UsageError("Give either -n, how many links to make, or --labels, a file with one label a line.")
    with writing(open_migrated(config.database)) as db:
        found = find_study(db, name)
        made = invite_labels(db, found, read_labels(labels)) if labels else invite_number(db, found, number or 0)
        secret = read_secret(config)
        rows = [(one.label, _personal_link(secret, url, name, one)) for one in made]
        if out is not None:  # before the commit, as the key: where a link cannot be told, nobody is invited
            with out.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("label", "link"), *rows])
    if as_json:
        click.echo(json.dumps([{"label": label, "link": link} for label, link in rows]))
    elif out is not None:
        click.echo(f"{len(rows)} links are in {out}.")
    else:
        for label, address in rows:
            click.echo(f"{label}\t{address}")


@study.command()
@click.argument("name", metavar="STUDY")
@with_config
@with_url
@as_json
def invitations(name: str, config: Config, url: str, as_json: bool) -> None:
    """List a study's personal links, and who has begun and completed.

    \b
    Example:  realism study invitations flowers
    """
    from study_app.db import open_migrated, reading
    from study_app.invitations import list_invited
    from study_app.studies import find_study

    with reading(open_migrated(config.database)) as db:
        found = list_invited(db, find_study(db, name))
    secret = read_secret(config)
    links = {one.public_id: _personal_link(secret, url, name, one) for one in found}
    if as_json:
        click.echo(
            json.dumps(
                [
                    {
                        "label": one.label,
                        "link": links[one.public_id],
                        "begun": one.begun,
                        "completed": one.completed,
                        "outcome": one.outcome,
                    }
                    for one in found
                ]
            )
        )
        return
    for one in found:
        state = one.outcome or ("begun" if one.begun else "not begun")
        click.echo(f"{one.label}\t{state}\t{links[one.public_id]}")
    if not found:
        click.echo(f"Nobody is invited yet; make personal links with 'realism study invite {name} -n 10'.")


def _personal_link(secret: str, url: str, name: str, invited: "Invited") -> str:
    from study_app.invitations import signed_token
    from study_app.recruitment import address_of_study

    return address_of_study(url, name, invitation=signed_token(secret, name, invited.public_id))
