"""Creating studies: all of it or nothing, and frozen for good."""

import io
import json
import shutil

import PIL.Image
import pytest
from pictures import copy_pictures
from sqlalchemy import func, select

from protocol.design import DesignError
from protocol.pairset import PairSetError, read_pairset
from study_app.assignment import AssignmentError
from study_app.db import reading
from study_app.store import StoreError, get_image, get_served
from study_app.studies import StudyError, design_of, find_study
from study_app.tables import Condition, Image, Pair, Study


def test_study_is_frozen_with_its_manifests(workshop):
    workshop.create_study()
    shutil.rmtree(workshop.folder / "cgan")  # the study needs the pair set no more
    with reading(workshop.engine) as db:
        study = find_study(db, "spots")
        assert list(design_of(study).conditions) == ["cgan", "wgan"]
        assert [condition.name for condition in study.conditions] == ["cgan", "wgan"]
        assert json.loads(study.conditions[0].manifest)["condition"] == "cgan"
        assert db.scalar(select(func.count(Pair.id))) == 48
        for image in db.scalars(select(Image)):
            get_image(workshop.config.store, image.sha256)


def test_conditions_keep_the_order_of_the_design(sqlite_workshop):
    sqlite_workshop.create_study(conditions={"wgan": "wgan", "cgan": "cgan"})
    with reading(sqlite_workshop.engine) as db:
        study = find_study(db, "spots")
        assert list(design_of(study).conditions) == [c.name for c in study.conditions] == ["wgan", "cgan"]


def test_all_pictures_of_a_study_are_served_at_one_length(sqlite_workshop):
    sqlite_workshop.create_study()
    with reading(sqlite_workshop.engine) as db:
        hashes = db.scalars(select(Image.sha256)).all()
    served = get_served(sqlite_workshop.config.store, hashes)
    assert len({len(data) for data in served}) == 1
    # Nothing follows the end of the picture, and it is the same picture.
    assert all(data.endswith(b"IEND\xaeB`\x82") for data in served)
    for sha256, data in zip(hashes, served, strict=True):
        original = PIL.Image.open(io.BytesIO(get_image(sqlite_workshop.config.store, sha256)))
        assert PIL.Image.open(io.BytesIO(data)).tobytes() == original.tobytes()


def test_second_study_of_a_name_is_refused(sqlite_workshop):
    sqlite_workshop.create_study()
    with pytest.raises(StudyError, match="a study 'spots' exists already and a running study never changes"):
        sqlite_workshop.create_study(title="Another")
    with reading(sqlite_workshop.engine) as db:
        assert design_of(find_study(db, "spots")).title == "Which spots are real?"


def test_wrong_pair_set_leaves_no_study(sqlite_workshop):
    copy_pictures(sqlite_workshop.folder / "cgan", "cgan")
    image = next((sqlite_workshop.folder / "cgan" / "images").iterdir())
    image.write_bytes(image.read_bytes()[:-1] + b"!")
    with pytest.raises(PairSetError, match="condition cgan: pair .* has sha256"):
        sqlite_workshop.create_study()
    with pytest.raises(PairSetError, match="condition cgan: .*nowhere is not a pair set"):
        sqlite_workshop.create_study(conditions={"cgan": "nowhere"})
    with pytest.raises(DesignError, match="unknown key 'conditons'; did you mean 'conditions'"):
        sqlite_workshop.create_study(conditons={"cgan": "cgan"})
    with reading(sqlite_workshop.engine) as db:
        assert [db.scalar(select(func.count()).select_from(t)) for t in (Study, Condition, Pair, Image)] == [0] * 4


def test_conditions_of_different_size_are_refused(sqlite_workshop):
    copy_pictures(sqlite_workshop.folder / "small", "small", size=32)
    with pytest.raises(PairSetError, match="differ in size .*cgan 48x48, small 32x32"):
        sqlite_workshop.create_study(conditions={"cgan": "cgan", "small": "small"})


def test_too_many_trials_for_the_pair_sets_are_refused(sqlite_workshop):
    with pytest.raises(AssignmentError, match="40 main trials need 40 different photos, found 24"):
        sqlite_workshop.create_study(trials={"main": 40})


def test_unknown_study_is_told_with_those_there_are(sqlite_workshop):
    with reading(sqlite_workshop.engine) as db, pytest.raises(StudyError, match="there is none yet"):
        find_study(db, "spots")
    sqlite_workshop.create_study()
    with reading(sqlite_workshop.engine) as db, pytest.raises(StudyError, match="no study 'spot'; there are spots"):
        find_study(db, "spot")


def test_changed_picture_in_the_store_is_found(sqlite_workshop):
    sqlite_workshop.create_study()
    with reading(sqlite_workshop.engine) as db:
        image = db.scalars(select(Image)).first()
    path = sqlite_workshop.config.instance / "store" / image.sha256[:2] / f"{image.sha256}.png"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(StoreError, match="has changed; restore the store"):
        get_image(sqlite_workshop.config.store, image.sha256)


def test_pair_sets_survive_a_study_unchanged(sqlite_workshop):
    sqlite_workshop.create_study()
    assert len(read_pairset(sqlite_workshop.folder / "cgan").pairs) == 24
