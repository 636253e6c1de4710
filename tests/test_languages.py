"""The survey's words: every one is there in every language, with the same blanks to fill, and compiled."""

import io
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

import study_app
from protocol.texts import DEFAULT_CONSENT, LANGUAGES

TRANSLATIONS = Path(study_app.__file__).parent / "translations"
OTHERS = [language for language in LANGUAGES if language != "en"]


def catalog_of(language: str) -> Catalog:
    with (TRANSLATIONS / language / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale=language)


@pytest.fixture(scope="module")
def words():
    """Every word of the survey, as the sources have it: a string, or one and many."""
    with (TRANSLATIONS / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    root = TRANSLATIONS.parent.parent
    keywords = {"_": None, "gettext": None, "later": None, "ngettext": (1, 2), "lazy_gettext": None}
    found = extract_from_dir(
        root, methods, options, keywords, directory_filter=lambda folder: not Path(folder).name.startswith(".")
    )
    return {message if isinstance(message, str) else tuple(message) for _, _, message, _, _ in found}


@pytest.mark.parametrize("language", OTHERS)
def test_every_word_is_translated_with_the_same_blanks(words, language):
    assert len(words) > 50
    catalog = catalog_of(language)
    for word in words:
        message = catalog.get(word if isinstance(word, str) else word[0])
        assert message is not None, f"{language} lacks {word!r}; run 'make translations' and translate it"
        assert not message.fuzzy, f"{language}: {word!r} was guessed; check it and take its mark away"
        given = (message.string,) if isinstance(message.string, str) else tuple(message.string)
        assert len(given) == (1 if isinstance(word, str) else catalog.num_plurals)
        blanks = set(re.findall(r"%\(\w+\)s", word if isinstance(word, str) else word[-1]))
        for string in given:
            assert string, f"{language}: {word!r} is empty"
            # A form for exactly one or two things may say the number in words.
            assert set(re.findall(r"%\(\w+\)s", string)) <= blanks
        assert blanks <= set(re.findall(r"%\(\w+\)s", given[-1])), f"{language}: {word!r}"


@pytest.mark.parametrize("language", OTHERS)
def test_compiled_words_are_those_of_the_source(language):
    compiled = io.BytesIO()
    write_mo(compiled, catalog_of(language))
    found = (TRANSLATIONS / language / "LC_MESSAGES" / "messages.mo").read_bytes()
    assert found == compiled.getvalue(), "run 'make translations'"


def test_default_consent_is_there_in_every_language():
    assert set(DEFAULT_CONSENT) == set(LANGUAGES)
    paragraphs = {language: text.count("\n\n") for language, text in DEFAULT_CONSENT.items()}
    assert set(paragraphs.values()) == {2}


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_page_speaks_the_language_that_is_asked_for(sqlite_workshop, language):
    sqlite_workshop.create_study(languages=list(LANGUAGES), title={tag: f"title {tag}" for tag in LANGUAGES})
    page = sqlite_workshop.client().get(f"/study/spots/?lang={language}").text
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in page
    assert f"title {language}" in page
    assert (">Your consent<" in page) is (language == "en")
    by_browser = sqlite_workshop.client().get("/study/spots/", headers={"Accept-Language": f"{language};q=0.9, xx"})
    assert f'<html lang="{language}"' in by_browser.text


def test_language_that_the_study_lacks_is_not_spoken(sqlite_workshop):
    sqlite_workshop.create_study()
    page = sqlite_workshop.client().get("/study/spots/?lang=de", headers={"Accept-Language": "de"}).text
    assert '<html lang="en"' in page


@pytest.mark.parametrize(
    ("wishes", "spoken"),
    [
        ("de-AT,en;q=0.8", "de"),
        ("zh-CN,en;q=0.5", "zh"),
        ("ar-EG,en-US;q=0.8,en;q=0.7", "ar"),
        ("en-GB,de;q=0.9", "en"),
        ("it,de;q=0,fr-CA;q=0.2", "en"),  # French is not offered, and German is refused
        ("*", "en"),
    ],
)
def test_browsers_first_wish_that_is_offered_is_met(sqlite_workshop, wishes, spoken):
    sqlite_workshop.create_study(languages=["en", "de", "zh", "ar"])
    page = sqlite_workshop.client().get("/study/spots/", headers={"Accept-Language": wishes}).text
    assert f'<html lang="{spoken}"' in page
