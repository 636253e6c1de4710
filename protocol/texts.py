"""What participants read, in one language or several: a string, or a table of one string per language."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator

# The languages of the survey's own words, by their BCP 47 tags, each named in itself.
LANGUAGES = {
    "en": "English",
    "de": "Deutsch",
    "fr": "Français",
    "es": "Español",
    "zh": "中文",
    "ar": "العربية",
}
RIGHT_TO_LEFT = frozenset({"ar"})

Language = Literal["en", "de", "fr", "es", "zh", "ar"]


def _checked(value: Any) -> Any:
    if isinstance(value, str):
        lines = {"": value}
    elif isinstance(value, dict) and value:
        lines = value
        for language in value:
            if language not in LANGUAGES:
                raise ValueError(f"{language!r} is no language of the survey; known are {', '.join(LANGUAGES)}")
    else:
        raise ValueError('give a text, or one per language: { en = "…", de = "…" }')
    for line in lines.values():
        if not isinstance(line, str) or not line.strip():
            raise ValueError("a text is empty; write it, or leave the key out")
        if len(line) > LONGEST:
            raise ValueError(f"a text has {len(line)} characters; {LONGEST} at most")
    stripped = {language: line.strip() for language, line in lines.items()}
    return stripped.get("", stripped)


LONGEST = 20_000
Text = Annotated[str | dict[str, str], BeforeValidator(_checked)]


def in_language(text: str | dict[str, str], language: str) -> str:
    """The text in that language; a plain string is the same in all."""
    return text if isinstance(text, str) else text[language]


# Tables whose keys are names of the user's, which may look like a language.
NAMED_BY_USER = frozenset({"conditions", "questions", "options"})


def texts_of(section: BaseModel, where: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Every text of a section that is given by language, with the keys that lead to it."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name in NAMED_BY_USER and isinstance(value, dict):
            for key, one in value.items():
                yield from _texts(one, f"{where}{name}.{key}")
        else:
            yield from _texts(value, f"{where}{name}")


def _texts(value: Any, where: str) -> Iterator[tuple[str, dict[str, str]]]:
    if isinstance(value, BaseModel):
        yield from texts_of(value, f"{where}.")
    elif isinstance(value, tuple):
        for i, one in enumerate(value):
            yield from _texts(one, f"{where}[{i}]")
    elif isinstance(value, dict):
        yield where, value


DEFAULT_CONSENT = {
    "en": """\
You are invited to take part in a study of how realistic computer-made pictures look. You will see pictures, and say which
are photographs and which are not. There is no risk beyond that of looking at a screen.

Taking part is voluntary. You may stop at any time by closing the page, without giving a reason.

We store your choices, how long each took, and what your browser tells about your screen, under a random number. We do not
ask for your name and do not store your network address.""",
    "de": """\
Sie sind eingeladen, an einer Studie darüber teilzunehmen, wie echt am Computer erzeugte Bilder aussehen. Sie sehen Bilder und
sagen, welche davon Fotos sind und welche nicht. Es besteht kein Risiko außer dem, auf einen Bildschirm zu schauen.

Die Teilnahme ist freiwillig. Sie können jederzeit und ohne Angabe von Gründen aufhören, indem Sie die Seite schließen.

Wir speichern Ihre Antworten, wie lange jede gedauert hat und was Ihr Browser über den Bildschirm mitteilt, unter einer
zufälligen Nummer. Wir fragen nicht nach Ihrem Namen und speichern Ihre Netzwerkadresse nicht.""",
    "fr": """\
Vous êtes invité(e) à participer à une étude sur le réalisme d'images générées par ordinateur. Vous verrez des images et direz
lesquelles sont des photographies et lesquelles n'en sont pas. Il n'y a pas d'autre risque que celui de regarder un écran.

La participation est volontaire. Vous pouvez arrêter à tout moment en fermant la page, sans donner de raison.

Nous enregistrons vos choix, le temps mis pour chacun et ce que votre navigateur indique sur votre écran, sous un numéro
aléatoire. Nous ne demandons pas votre nom et n'enregistrons pas votre adresse réseau.""",
    "es": """\
Le invitamos a participar en un estudio sobre lo realistas que parecen las imágenes generadas por ordenador. Verá imágenes y dirá
cuáles son fotografías y cuáles no. No hay más riesgo que el de mirar una pantalla.

La participación es voluntaria. Puede dejarlo en cualquier momento cerrando la página, sin dar explicaciones.

Guardamos sus respuestas, cuánto tardó en cada una y lo que su navegador indica sobre la pantalla, bajo un número aleatorio.
No le preguntamos su nombre ni guardamos su dirección de red.""",
    "zh": """\
诚邀您参加一项研究，了解计算机生成的图片看起来有多真实。您将看到一些图片，并判断哪些是照片、哪些不是。除了看屏幕之外，没有其他风险。

参加是自愿的。您可以随时关闭页面退出，无需说明理由。

我们会以随机编号保存您的选择、每次所用的时间，以及浏览器提供的屏幕信息。我们不会询问您的姓名，也不会保存您的网络地址。""",
    "ar": """\
ندعوك إلى المشاركة في دراسة عن مدى واقعية الصور التي يصنعها الحاسوب. ستظهر لك صور، والمطلوب تحديد أيها صور فوتوغرافية وأيها ليست كذلك.
لا توجد مخاطر تتجاوز النظر إلى شاشة.

المشاركة طوعية. يمكنك التوقف في أي وقت بإغلاق الصفحة، دون ذكر أي سبب.

نحفظ اختياراتك والوقت الذي استغرقه كل منها وما يذكره متصفحك عن شاشتك، تحت رقم عشوائي. لا نسأل عن اسمك ولا نحفظ عنوان شبكتك.""",
}
