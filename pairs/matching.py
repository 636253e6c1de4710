"""Folders of real and of fake files in; which real goes with which fakes out. Paths only: no picture is opened."""

import csv
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from pairs.road import picture_paths
from protocol import InputError

RESERVED_COLUMNS = frozenset({"real", "tags"})


class MatchingError(InputError):
    """Real and fake files that cannot be brought together."""


class TableError(InputError):
    """A CSV file that cannot be read, or lacks a column."""


@dataclass(frozen=True)
class Match:
    """A real file, its fake in every condition, in the order of the conditions, and the real's tags."""

    real: Path
    fakes: tuple[Path, ...]
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matching:
    """The matches, and how many files were passed over for want of a partner."""

    matches: tuple[Match, ...]
    n_unmatched_real: int
    n_unmatched_fakes: int = 0


def match_by_stem(real: Path, fakes: Sequence[Path], real_ending: str = "", fake_ending: str = "") -> Matching:
    """Each real with the fakes that are called like it; the folders in a folder count only where names repeat in it.

    The endings are cut off the names (before the suffix), and files that do not end so are not looked at:
    pytorch-CycleGAN-and-pix2pix, for one, writes 0001_real_B.png and 0001_fake_B.png into one folder.
    Reals without a fake in every condition are passed over.

    Raises:
        MatchingError: if a fake has no real, nothing matches, two files have one name, or a file would be used twice.
    """
    if not (real_ending or fake_ending):
        _refuse_one_folder(real, fakes)
    sides = [_named(real, real_ending), *(_named(folder, fake_ending) for folder in fakes)]
    in_tree = any(len({name.name for name, _ in side}) < len(side) for side in sides)
    real_files, *fake_files = (_by_name(side, in_tree) for side in sides)
    for folder, files in zip(fakes, fake_files, strict=True):
        _refuse_lonely_fakes(real, real_files, folder, files)
    matches = [
        Match(file, tuple(files[name] for files in fake_files), _class_folder(file, real))
        for name, file in real_files.items()
        if all(name in files for files in fake_files)
    ]
    if not matches:
        raise MatchingError(f"no real in {real} has a fake in every condition; give conditions of the same photos")
    n_fakes = sum(map(len, fake_files)) - len(matches) * len(fakes)
    return Matching(_each_file_once(matches), len(real_files) - len(matches), n_fakes)


def _refuse_one_folder(real: Path, fakes: Iterable[Path]) -> None:
    if real.resolve() in (folder.resolve() for folder in fakes):
        raise MatchingError(
            f"{real}: the same folder is given as --real and --fake; give the fakes' folder, or the endings of both names"
        )


def _named(folder: Path, ending: str) -> list[tuple[PurePath, Path]]:
    """The pictures that end so, each after its path in the folder without ending and suffix."""
    found = picture_paths(folder)
    ending_so = [path for path in found if path.stem.endswith(ending)]
    if not ending_so:
        raise MatchingError(
            f"{folder} holds no picture whose name ends in {ending!r} (it holds {found[0].name}); "
            "give the ending without the suffix, or another folder"
        )
    return [(path.relative_to(folder).parent / path.stem.removesuffix(ending), path) for path in ending_so]


def _by_name(side: list[tuple[PurePath, Path]], in_tree: bool) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for name, path in side:
        first = files.setdefault(name.as_posix() if in_tree else name.name, path)
        if first is not path:
            raise MatchingError(f"{first} and {path} have one name; remove one of them, or match by a table")
    return files


def _refuse_lonely_fakes(real: Path, reals: Mapping[str, Path], folder: Path, fakes: Mapping[str, Path]) -> None:
    lonely = sorted(fakes.keys() - reals.keys())
    if len(lonely) == len(fakes):
        raise MatchingError(
            f"no fake in {folder} is called like a real in {real} (a fake is {lonely[0]!r}, a real {min(reals)!r}); "
            "rename them, give the ending of their names, or match by a table"
        )
    if lonely:
        raise MatchingError(
            f"{len(lonely)} of {len(fakes)} fakes in {folder} have no real in {real} that is called like them, the "
            f"first is {fakes[lonely[0]].name}; give their reals, remove them, or match by a table"
        )


def match_by_table(table: Path, real: Path, fakes: Mapping[str, Path]) -> Matching:
    """The lines of a CSV file; ``fakes`` are the conditions' folders.

    Columns are ``real`` and one named after each condition, or ``fake`` where there is one condition; their cells are
    paths in the folders. Lines with an empty cell are passed over. A column ``tags`` (separated by ``;``) takes the
    place of the class folders.

    Raises:
        MatchingError: naming the line, if a file does not exist, lies outside its folder or is listed twice.
        TableError: if the file cannot be read, or lacks a column.
    """
    columns = [({"fake", name} if len(fakes) == 1 else {name}) - RESERVED_COLUMNS for name in fakes]
    if not all(columns):
        raise MatchingError(f"{table}: a condition cannot be called 'real' or 'tags', like a column; give another name")
    matches, n_real, n_fakes = [], 0, 0
    listed: set[tuple[int, Path]] = set()
    for line, row in table_rows(table, [{"real"}, *columns]):
        cells = [row["real"], *(row[min(names & row.keys())] for names in columns)]
        files = []
        for side, (folder, cell) in enumerate(zip([real, *fakes.values()], cells, strict=True)):
            if not cell:
                continue
            file = _listed_file(folder, cell, f"{table}: line {line}")
            if (side, file) in listed:
                raise MatchingError(f"{table}: line {line} lists {cell!r} a second time; keep one line for each file")
            listed.add((side, file))
            files.append(file)
        if len(files) == len(cells):
            matches.append(Match(files[0], tuple(files[1:]), _tags(row, files[0], real)))
        else:
            n_real += bool(cells[0])
            n_fakes += len(files) - bool(cells[0])
    if not matches:
        raise MatchingError(f"{table} has no line with a real and a fake for every condition; add some")
    return Matching(_each_file_once(matches), n_real, n_fakes)


def _listed_file(folder: Path, cell: str, where: str) -> Path:
    inside = PurePath(cell)
    if inside.is_absolute() or ".." in inside.parts:
        raise MatchingError(f"{where}: {cell!r} does not stay in {folder}; give paths relative to the folder")
    if not (folder / inside).is_file():
        raise MatchingError(f"{where}: {folder} has no file {cell!r}; correct the line, or give another folder")
    return folder / inside


def _tags(row: Mapping[str, str], file: Path, folder: Path) -> tuple[str, ...]:
    if "tags" not in row:
        return _class_folder(file, folder)
    return tuple(dict.fromkeys(filter(None, (tag.strip() for tag in row["tags"].split(";")))))


def match_unpaired(real: Path, fakes: Sequence[Path], seed: int) -> Matching:
    """Each fake with a random real, used once, as Isola et al. 2017 did for maps.

    Of every condition as many fakes are drawn as the smallest has, and the first of each go with the first real drawn.
    The draw depends on the seed and the paths in the folders alone.

    Raises:
        MatchingError: if there are more fakes than reals, or a file would be used twice.
    """
    _refuse_one_folder(real, fakes)
    reals = _drawn(real, f"{seed}:real")
    # One salt for all conditions: of fakes that are called alike (made from one input), the same are drawn.
    drawn = [_drawn(folder, f"{seed}:fake") for folder in fakes]
    n = min(map(len, drawn))
    if n > len(reals):
        raise MatchingError(
            f"{n} fakes need as many reals, {real} holds {len(reals)}; give more real pictures, or fewer fakes"
        )
    matches = [
        Match(file, tuple(of_real), _class_folder(file, real))
        for file, *of_real in zip(reals[:n], *(files[:n] for files in drawn), strict=True)
    ]
    return Matching(_each_file_once(matches), len(reals) - n, sum(map(len, drawn)) - n * len(fakes))


def _drawn(folder: Path, salt: str) -> list[Path]:
    def place(path: Path) -> bytes:
        name = path.relative_to(folder).with_suffix("").as_posix()
        return hashlib.sha256(f"{salt}:{name}".encode(errors="surrogateescape")).digest()

    return sorted(picture_paths(folder), key=place)


def _class_folder(file: Path, folder: Path) -> tuple[str, ...]:
    return file.relative_to(folder).parts[:-1][:1]


def _each_file_once(matches: Iterable[Match]) -> tuple[Match, ...]:
    """The matches, if no file stands on both sides, or in two conditions."""
    matches = tuple(matches)
    seen: dict[tuple[int, int], Path] = {}
    for match in matches:
        for path in (match.real, *match.fakes):
            status = path.stat()
            first = seen.setdefault((status.st_dev, status.st_ino), path)  # links and folders in folders included
            if first is not path:
                raise MatchingError(
                    f"{path} is the same file as {first}; give the real side and every condition files of their own"
                )
    return matches


def table_rows(table: Path, needed: Iterable[Collection[str]]) -> list[tuple[int, dict[str, str]]]:
    """The lines of a CSV file and their numbers; of each of the ``needed`` there must be one column.

    Raises:
        TableError: if it cannot be read, a column lacks or is repeated, or a line has more cells than columns.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte-order mark in front
            reader = csv.DictReader(file, strict=True, skipinitialspace=True, restval="")
            header = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TableError(f"{table} cannot be read ({reason}); give a CSV file in UTF-8") from error
    for names in needed:
        if sum(header.count(name) for name in names) != 1:
            raise TableError(
                f"{table} needs one column {' or '.join(map(repr, sorted(names)))}, its columns are "
                f"{', '.join(map(repr, header)) or 'none'}; put the names into its first line, separated by commas"
            )
    for line, row in rows:
        if None in row:  # where csv puts the cells that have no column
            raise TableError(f"{table}: line {line} has more cells than columns; put quotes around cells with commas")
    return [(line, {name: cell.strip() for name, cell in row.items()}) for line, row in rows]
