from pathlib import Path

import pytest

from pairs.matching import MatchingError, TableError, match_by_stem, match_by_table, match_unpaired
from pairs.road import PhotoError


def files(folder: Path, *names: str) -> Path:
    """The folder with files of these names; what is in them is never looked at."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(matching):
    return [(match.real.name, *(fake.name for fake in match.fakes)) for match in matching.matches]


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def numbered(folder: Path, n: int, suffix: str = ".png") -> Path:
    return files(folder, *(f"{number:03}{suffix}" for number in range(n)))


# By stem


def test_files_of_one_stem_match_whatever_their_suffix(tmp_path):
    real = files(tmp_path / "real", "b.jpg", "a.JPG", "c.tiff", "notes.txt", ".hidden.png")
    fake = files(tmp_path / "fake", "a.png", "c.webp", "b.PNG")
    assert names(match_by_stem(real, [fake])) == [("a.JPG", "a.png"), ("b.jpg", "b.PNG"), ("c.tiff", "c.webp")]


def test_reals_without_a_fake_in_every_condition_are_passed_over_and_counted(tmp_path):
    real = numbered(tmp_path / "real", 5)
    one, two = files(tmp_path / "1", "001.png", "002.png"), files(tmp_path / "2", "002.png", "003.png", "004.png")
    matching = match_by_stem(real, [one, two])
    assert [match.fakes for match in matching.matches] == [(one / "002.png", two / "002.png")]
    assert (matching.n_unmatched_real, matching.n_unmatched_fakes) == (4, 3)


def test_conditions_of_different_photos_are_refused(tmp_path):
    real, one, two = numbered(tmp_path / "real", 2), files(tmp_path / "1", "000.png"), files(tmp_path / "2", "001.png")
    with pytest.raises(MatchingError, match="no real in .*real has a fake in every condition; give conditions of the"):
        match_by_stem(real, [one, two])


def test_class_folders_become_tags_and_need_not_be_in_the_fakes(tmp_path):
    real = files(tmp_path / "real", "rose/red/1.jpg", "lily/2.jpg", "3.jpg")
    fake = files(tmp_path / "fake", "1.png", "2.png", "3.png")
    tags = {match.real.stem: match.tags for match in match_by_stem(real, [fake]).matches}
    assert tags == {"1": ("rose",), "2": ("lily",), "3": ()}


def test_stems_that_repeat_in_class_folders_match_by_path(tmp_path):
    real = files(tmp_path / "real", "rose/001.jpg", "lily/001.jpg")
    fake = files(tmp_path / "fake", "lily/001.png", "rose/001.png")
    for match in match_by_stem(real, [fake]).matches:
        assert match.real.parent.name == match.fakes[0].parent.name == match.tags[0]
    (fake / "lily/001.png").unlink()
    assert [match.tags for match in match_by_stem(real, [fake]).matches] == [("rose",)]


def test_endings_tell_real_from_fake_in_one_folder(tmp_path):
    both = files(tmp_path, *(f"{n}_{kind}.png" for n in ("0001", "0002") for kind in ("real_A", "real_B", "fake_B")))
    matching = match_by_stem(both, [both], "_real_B", "_fake_B")
    assert names(matching) == [("0001_real_B.png", "0001_fake_B.png"), ("0002_real_B.png", "0002_fake_B.png")]
    assert (matching.n_unmatched_real, matching.n_unmatched_fakes) == (0, 0)


def test_ending_that_no_name_has_is_refused(tmp_path):
    real = files(tmp_path / "real", "1_real.png")
    with pytest.raises(MatchingError, match=r"no picture whose name ends in '_real.png' \(it holds 1_real.png\); give"):
        match_by_stem(real, [real], "_real.png", "")


def test_fakes_without_a_real_are_refused_with_their_number(tmp_path):
    real, fake = numbered(tmp_path / "real", 3), numbered(tmp_path / "fake", 5)
    with pytest.raises(MatchingError, match="2 of 5 fakes in .*fake have no real in .*, the first is 003.png; give"):
        match_by_stem(real, [fake])


def test_nothing_in_common_is_refused_with_a_name_of_each_side(tmp_path):
    real, fake = files(tmp_path / "real", "img_1.png"), files(tmp_path / "fake", "1.png", "2.png")
    with pytest.raises(MatchingError, match=r"\(a fake is '1', a real 'img_1'\); rename them, give the ending"):
        match_by_stem(real, [fake])


def test_two_files_of_one_name_are_refused(tmp_path):
    real, fake = files(tmp_path / "real", "a.png", "a.jpg"), files(tmp_path / "fake", "a.png")
    with pytest.raises(MatchingError, match="a.jpg and .*a.png have one name; remove one of them"):
        match_by_stem(real, [fake])


def test_one_folder_as_both_sides_is_refused_by_name_where_no_ending_tells_them_apart(tmp_path):
    both, fake = numbered(tmp_path / "both", 2), numbered(tmp_path / "fake", 2)
    (tmp_path / "link").symlink_to(both)
    for fakes in ([both], [fake, both], [tmp_path / "link"], [tmp_path / "fake" / ".." / "both"]):
        with pytest.raises(MatchingError, match="both: the same folder is given as --real and --fake; give"):
            match_by_stem(both, fakes)
        with pytest.raises(MatchingError, match="both: the same folder is given as --real and --fake; give"):
            match_unpaired(both, fakes, seed=0)


def test_folder_of_two_conditions_or_a_side_within_the_other_is_refused(tmp_path):
    real, fake = numbered(tmp_path / "real", 2), numbered(tmp_path / "fake", 2)
    (tmp_path / "link").symlink_to(fake)
    for fakes in ([fake, fake], [fake, tmp_path / "link"]):
        with pytest.raises(MatchingError, match="000.png is the same file as .*000.png; give"):
            match_by_stem(real, fakes)


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(PhotoError, match="nowhere does not exist"):
        match_by_stem(numbered(tmp_path / "real", 1), [tmp_path / "nowhere"])


# By a table


@pytest.fixture
def sides(tmp_path):
    real = files(tmp_path / "real", "rose/1.jpg", "lily/2.jpg", "3.jpg")
    return real, {"cgan": files(tmp_path / "cgan", "x.png", "y.png"), "wgan": files(tmp_path / "wgan", "p.png")}


def test_table_names_the_pairs_of_one_condition(tmp_path, sides):
    real, fakes = sides
    del fakes["wgan"]
    for column in ("fake", "cgan"):
        pairs = table(tmp_path / "pairs.csv", f"\ufeffreal, {column}\nlily/2.jpg,x.png\n\nrose/1.jpg,./y.png\n")
        matching = match_by_table(pairs, real, fakes)
        assert names(matching) == [("2.jpg", "x.png"), ("1.jpg", "y.png")]
        assert [match.tags for match in matching.matches] == [("lily",), ("rose",)]


def test_table_has_a_column_for_each_condition_and_passes_over_empty_cells(tmp_path, sides):
    real, fakes = sides
    pairs = table(tmp_path / "pairs.csv", "wgan,real,cgan\np.png,3.jpg,y.png\n,rose/1.jpg,x.png\n,lily/2.jpg,\n,,\n")
    matching = match_by_table(pairs, real, fakes)
    assert names(matching) == [("3.jpg", "y.png", "p.png")]
    assert (matching.n_unmatched_real, matching.n_unmatched_fakes) == (2, 1)


def test_tags_of_the_table_take_the_place_of_class_folders(tmp_path, sides):
    real, fakes = sides
    text = "real,cgan,wgan,tags\nrose/1.jpg,x.png,p.png, night; red;;night\n"
    assert match_by_table(table(tmp_path / "pairs.csv", text), real, fakes).matches[0].tags == ("night", "red")
    text = "real,cgan,wgan,tags\nrose/1.jpg,x.png,p.png\n"
    assert match_by_table(table(tmp_path / "pairs.csv", text), real, fakes).matches[0].tags == ()


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("3.jpg,x.png\n9.jpg,y.png", "line 3: .*real has no file '9.jpg'; correct the line"),
        ("rose,x.png", "line 2: .*real has no file 'rose'; correct the line"),
        ("3.jpg,../cgan/x.png", "line 2: '../cgan/x.png' does not stay in .*cgan; give paths relative"),
        ("/etc/passwd,x.png", "line 2: '/etc/passwd' does not stay in .*real; give paths relative"),
        ("3.jpg,x.png\nrose/1.jpg,x.png", "line 3 lists 'x.png' a second time; keep one line"),
        ("3.jpg,x.png\n./3.jpg,", "line 3 lists './3.jpg' a second time; keep one line"),
        ("3.jpg,\n,x.png", "has no line with a real and a fake for every condition; add some"),
    ],
)
def test_line_that_cannot_be_matched_is_refused(tmp_path, sides, lines, problem):
    real, fakes = sides
    with pytest.raises(MatchingError, match=problem):
        match_by_table(table(tmp_path / "pairs.csv", f"real,fake\n{lines}\n"), real, {"cgan": fakes["cgan"]})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("real,fake\n3.jpg,x.png,p.png\n", "line 2 has more cells than columns; put quotes"),
        ("photo,fake\n3.jpg,x.png\n", "needs one column 'real', its columns are 'photo', 'fake'; put the names"),
        ("real;fake\n3.jpg;x.png\n", "needs one column 'real', its columns are 'real;fake'; put the names"),
        ("real,wgan\n3.jpg,x.png\n", "needs one column 'cgan' or 'fake', its columns are 'real', 'wgan'"),
        ("real,fake,cgan\n3.jpg,x.png,x.png\n", "needs one column 'cgan' or 'fake'"),
        ("real,real,cgan\n3.jpg,3.jpg,x.png\n", "needs one column 'real'"),
        ("", "needs one column 'real', its columns are none"),
        ('real,fake\n"3.jpg,x.png\n', r"cannot be read \(unexpected end of data\); give a CSV file"),
    ],
)
def test_table_of_another_form_is_refused(tmp_path, sides, text, problem):
    real, fakes = sides
    with pytest.raises(TableError, match=problem):
        match_by_table(table(tmp_path / "pairs.csv", text), real, {"cgan": fakes["cgan"]})


def test_table_that_is_missing_or_not_utf8_is_refused(tmp_path, sides):
    with pytest.raises(TableError, match=r"none.csv cannot be read \(No such file or directory\)"):
        match_by_table(tmp_path / "none.csv", *sides)
    (tmp_path / "latin.csv").write_bytes("real,fake\nblüte.jpg,x.png\n".encode("latin-1"))
    with pytest.raises(TableError, match=r"latin.csv cannot be read \('utf-8' codec.*; give a CSV file in UTF-8"):
        match_by_table(tmp_path / "latin.csv", *sides)


def test_condition_called_like_a_column_is_refused(tmp_path, sides):
    real, fakes = sides
    with pytest.raises(MatchingError, match="a condition cannot be called 'real' or 'tags'"):
        match_by_table(tmp_path / "pairs.csv", real, {"tags": fakes["cgan"], "wgan": fakes["wgan"]})


def test_table_of_one_folder_for_both_sides_may_not_match_a_file_with_itself(tmp_path):
    both = numbered(tmp_path / "both", 3)
    pairs = table(tmp_path / "pairs.csv", "real,fake\n000.png,001.png\n002.png,002.png\n")
    with pytest.raises(MatchingError, match="002.png is the same file as"):
        match_by_table(pairs, both, {"cgan": both})


# Unpaired


def test_every_fake_gets_a_real_of_its_own(tmp_path):
    real, fake = numbered(tmp_path / "real", 40), numbered(tmp_path / "fake", 30)
    matching = match_unpaired(real, [fake], seed=1)
    assert len({match.real for match in matching.matches}) == len({match.fakes for match in matching.matches}) == 30
    assert (matching.n_unmatched_real, matching.n_unmatched_fakes) == (10, 0)


def test_unpaired_fakes_rarely_meet_the_real_of_their_name(tmp_path):
    real, fake = numbered(tmp_path / "real", 200), numbered(tmp_path / "fake", 200)
    # A random permutation has one fixed point on average, and more than six once in ten thousand times.
    assert sum(match.real.stem == match.fakes[0].stem for match in match_unpaired(real, [fake], 1).matches) <= 6


def test_unpaired_draw_depends_on_seed_and_names_alone(tmp_path):
    draws = []
    for place in ("here", "there"):
        real, fake = numbered(tmp_path / place / "real", 20), numbered(tmp_path / place / "fake", 20, ".jpg")
        draws += [names(match_unpaired(real, [fake], seed)) for seed in (1, 2)]
    assert draws[0] == draws[2] != draws[1] == draws[3]


def test_conditions_share_the_reals_up_to_the_smallest(tmp_path):
    real, one, two = (numbered(tmp_path / name, n) for name, n in (("real", 12), ("1", 10), ("2", 15)))
    matching = match_unpaired(real, [one, two], seed=3)
    assert [match.real for match in matching.matches] == [m.real for m in match_unpaired(real, [one], seed=3).matches]
    assert all([fake.parent for fake in match.fakes] == [one, two] for match in matching.matches)
    assert (len(matching.matches), matching.n_unmatched_real, matching.n_unmatched_fakes) == (10, 2, 5)


def test_conditions_of_one_input_show_the_same_input_to_each_real(tmp_path):
    real, one, two = (
        numbered(tmp_path / name, 9, suffix) for name, suffix in (("real", ".png"), ("1", ".png"), ("2", ".jpg"))
    )
    assert all(a.stem == b.stem for a, b in (match.fakes for match in match_unpaired(real, [one, two], 3).matches))


def test_more_fakes_than_reals_are_refused(tmp_path):
    real, fake = numbered(tmp_path / "real", 3), numbered(tmp_path / "fake", 5)
    with pytest.raises(MatchingError, match="5 fakes need as many reals, .*real holds 3; give more real pictures"):
        match_unpaired(real, [fake], seed=0)


def test_unpaired_reals_that_are_fakes_too_are_refused(tmp_path):
    fake = numbered(tmp_path / "all" / "fake", 5)
    with pytest.raises(MatchingError, match="is the same file as"):
        match_unpaired(tmp_path / "all", [fake], seed=0)
