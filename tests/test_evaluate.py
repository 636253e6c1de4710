import json
import socket
import sys
import types
from urllib.error import URLError

import pytest
import torch
from pictures import colourful
from PIL import Image

from pairs.writing import About, Picture, write_pairset
from protocol.pairset import PairSetError, sha256_hex
from train import evaluate
from train.evaluate import from_pairset, measure, text_table, with_torchmetrics
from train.metrics import MetricError, ab_histogram_distance
from train.observer import Observation, observe

torch.set_num_threads(1)  # pictures so small that threads would only wait for each other

CLASSES = ("rose", "daisy") * 6


@pytest.fixture(scope="module")
def pairset(tmp_path_factory):
    """Twelve pairs of a rose and a daisy in turn; the daisies' fakes are gray, the roses' are their photos."""

    def pictures():
        for seed, name in enumerate(CLASSES):
            real = colourful(seed, 24)
            fake = real.convert("L").convert("RGB") if name == "daisy" else real
            yield Picture(sha256_hex(real.tobytes()), real, (fake,), tags=(name, "bright"))

    folder = tmp_path_factory.mktemp("pairs") / "set"
    generator = {"name": "spots", "checkpoint_sha256": None, "config": {}}
    source = {"name": "spots", "licence": "CC0", "split": "held-out"}
    write_pairset(folder, pictures(), About("spots", generator, source))
    return folder


@pytest.fixture(scope="module")
def pictures(pairset):
    return from_pairset(pairset)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(evaluate, "observe", lambda real, fake, **settings: observe(real, fake, steps=2, **settings))


@pytest.fixture
def without_torchmetrics(monkeypatch):
    monkeypatch.setattr(evaluate, "find_spec", lambda name: None)


@pytest.fixture
def evaluation(pictures, quick, without_torchmetrics):
    return measure(*pictures)


def test_pair_set_gives_pictures_and_the_first_tag_as_class(pairset, pictures):
    real, fake, classes = pictures
    assert real.shape == fake.shape == (12, 3, 24, 24)
    assert classes == CLASSES
    assert torch.equal(real[0], fake[0])
    first = Image.open(
        next(iter(sorted((pairset / "images").glob(f"{sha256_hex(colourful(0, 24).tobytes())[:12]}-*"))))
    )
    assert tuple((real[0, :, 5, 7] * 255).round().int().tolist()) == first.getpixel((7, 5))


def test_folder_that_is_no_pair_set_is_refused(tmp_path):
    with pytest.raises(PairSetError, match="is not a pair set"):
        from_pairset(tmp_path)


def test_every_class_has_its_own_measures(evaluation, pictures):
    real, fake, _ = pictures
    rose, daisy = evaluation.by_class["rose"], evaluation.by_class["daisy"]
    assert list(evaluation.by_class) == ["daisy", "rose"]
    assert (evaluation.overall.n, rose.n, daisy.n) == (12, 6, 6)
    assert rose.psnr is None  # the fakes are their photos
    assert (rose.ssim, rose.ab_distance, rose.colourfulness_ratio) == pytest.approx((1, 0, 1))
    assert 5 < daisy.psnr < 40
    assert daisy.ssim < 1
    assert daisy.colourfulness_fake == pytest.approx(0, abs=0.01)
    assert daisy.colourfulness_ratio < 0.01
    assert daisy.ab_distance == pytest.approx(ab_histogram_distance(real[1::2], fake[1::2]))


def test_all_photos_together_are_the_mean_of_classes_of_one_size(evaluation):
    rose, daisy = evaluation.by_class["rose"], evaluation.by_class["daisy"]
    for name in ("ssim", "colourfulness_fake", "colourfulness_real", "observer"):
        assert getattr(evaluation.overall, name) == pytest.approx((getattr(rose, name) + getattr(daisy, name)) / 2)
    overall = evaluation.overall
    assert overall.colourfulness_ratio == overall.colourfulness_fake / overall.colourfulness_real


def test_classes_share_one_cross_fit(pictures, without_torchmetrics, monkeypatch):
    correct = (0.5, 1.0) * 5 + (0.5, 0.0)
    monkeypatch.setattr(evaluate, "observe", lambda *a, **k: Observation(12, 0.6667, 0.4, 0.8, correct))
    evaluation = measure(*pictures)
    assert evaluation.by_class["rose"].observer == 0.5
    daisy = evaluation.by_class["daisy"]
    assert daisy.observer == pytest.approx(5 / 6)
    # Wilson's interval for 5 of 6, by its formula with z = 1.96.
    assert (daisy.observer_low, daisy.observer_high) == pytest.approx((0.4365, 0.9699), abs=1e-4)


def test_photos_without_classes_are_measured_together_only(pictures, quick, without_torchmetrics):
    assert measure(*pictures[:2], [""] * 12).by_class == {}
    assert list(measure(*pictures[:2], ["rose"] + [""] * 11).by_class) == ["(no class)", "rose"]


def test_too_few_or_too_small_pictures_leave_a_note_and_no_value(without_torchmetrics):
    real = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    evaluation = measure(real, real.flip(1), ("",) * 3)
    assert evaluation.overall.ssim is evaluation.overall.observer is None
    assert evaluation.notes == (
        "pictures are 8x8; SSIM needs at least 11x11 pixels",
        "the machine observer needs at least 10 pairs, there are 3",
    )
    assert all(note in text_table(evaluation) for note in evaluation.notes)


def test_gray_photos_have_no_ratio_of_colourfulness(without_torchmetrics):
    gray = torch.full((3, 3, 12, 12), 0.5)
    assert measure(gray, gray, ("",) * 3).overall.colourfulness_ratio is None


def test_pictures_that_do_not_go_together_are_refused():
    with pytest.raises(MetricError, match="with 2 classes; give pairs"):
        measure(torch.rand(3, 3, 12, 12), torch.rand(3, 3, 12, 12), ("a", "b"))
    with pytest.raises(MetricError, match="give pairs"):
        measure(torch.rand(0, 3, 12, 12), torch.rand(0, 3, 12, 12), ())


def test_evaluation_is_json_without_nan_or_infinity(evaluation):
    written = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert written["overall"]["n"] == 12
    assert written["by_class"]["rose"]["psnr"] is None


def test_table_has_a_row_for_all_and_for_each_class(evaluation):
    lines = text_table(evaluation).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:5]] == ["all", "daisy", "rose"]
    assert {line.count("|") for line in lines[:5]} == {8}
    assert "∞" in lines[4]
    assert "- FID: not computed: needs at least 2048 pictures, there are 12" in lines


def test_class_name_cannot_break_the_table(pictures, quick, without_torchmetrics):
    row = text_table(measure(*pictures[:2], ["a|b"] * 12)).splitlines()[3]
    assert row.startswith(r"| a\|b | 12 |")


LARGE = torch.zeros(1, 3, 64, 64).expand(2048, -1, -1, -1)  # takes no memory


def test_absent_torchmetrics_is_a_reason_and_no_error(without_torchmetrics):
    reason = "torchmetrics is not installed: pip install 'torchmetrics[image]'"
    assert with_torchmetrics(LARGE, LARGE) == {"fid": reason, "kid": reason, "lpips": reason}


def test_small_sets_and_small_pictures_are_refused_with_what_is_needed():
    few = torch.zeros(49, 3, 63, 80)
    assert with_torchmetrics(few, few) == {
        "fid": "needs at least 2048 pictures, there are 49",
        "kid": "needs at least 50 pictures, there are 49",
        "lpips": "needs pictures of at least 64 pixels a side, these are 80x63",
    }


@pytest.fixture
def torchmetrics(monkeypatch):
    """Modules in the place of torchmetrics, whose metrics are what the test puts into them."""
    modules = {name: types.ModuleType(f"torchmetrics.image.{name}") for name in ("fid", "kid", "lpip")}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, f"torchmetrics.image.{name}", module)
    for name in ("torchmetrics", "torchmetrics.image"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(evaluate, "find_spec", lambda name: object())
    return modules


def put(modules, metric):
    modules["fid"].FrechetInceptionDistance = metric
    modules["kid"].KernelInceptionDistance = metric
    modules["lpip"].LearnedPerceptualImagePatchSimilarity = metric


@pytest.mark.parametrize(
    "error", [URLError("no route to host"), RuntimeError("invalid hash value\nand more"), ImportError("no tqdm")]
)
def test_weights_that_cannot_be_had_are_a_reason_and_no_error(torchmetrics, error):
    waits = []

    def fail(**settings):
        waits.append(socket.getdefaulttimeout())
        raise error

    put(torchmetrics, fail)
    before = socket.getdefaulttimeout()
    reason = f"torchmetrics could not compute it: {str(error).splitlines()[0]}"
    assert set(with_torchmetrics(LARGE, LARGE).values()) == {reason}
    assert waits == [10.0] * 3
    assert socket.getdefaulttimeout() == before


def test_metrics_get_every_picture_on_its_side(torchmetrics):
    class Recorder:
        def __init__(self, **settings):
            assert settings.pop("normalize") is True
            self.settings, self.sums = settings, {True: 0.0, False: 0.0}

        def to(self, device):
            return self

        def update(self, first, second=None, real=None):
            if second is not None:
                self.sums[True] += first.mean().item() * len(first)
                self.sums[False] += second.mean().item() * len(second)
            else:
                self.sums[real] += first.mean().item() * len(first)

        def compute(self):
            value = torch.tensor(self.sums[True] - self.sums[False])
            return (value, torch.tensor(0.0)) if "subsets" in self.settings else value

    put(torchmetrics, Recorder)
    real, fake = torch.ones(70, 3, 64, 64), torch.full((70, 3, 64, 64), 0.5)
    values = with_torchmetrics(real, fake)
    assert (values["kid"], values["lpips"]) == pytest.approx((35, 35))
    assert values["fid"] == "needs at least 2048 pictures, there are 70"
    assert with_torchmetrics(LARGE, LARGE)["fid"] == 0


def test_value_that_is_no_number_is_a_reason(torchmetrics):
    class Nothing:
        def __init__(self, **settings): ...
        def to(self, device):
            return self

        def update(self, *pictures): ...
        def compute(self):
            return float("nan")

    put(torchmetrics, Nothing)
    assert (
        with_torchmetrics(torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 64, 64))["lpips"] == "torchmetrics computed nan"
    )
