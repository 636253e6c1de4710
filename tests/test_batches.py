from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from models.color import merge_luminance
from train.batches import Batches, batch_indices, cut

CPU = torch.device("cpu")


def photographs(n: int = 7, side: int = 12) -> torch.Tensor:
    """Noise (n, side, side, 3) uint8, so that no two squares of any two photos are alike."""
    return torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def batches(photos: torch.Tensor, **differing) -> Batches:
    settings = {"image_size": 8, "batch_size": 4, "space": "rgb", "flip": True, "seed": 3, **differing}
    return Batches(photos, CPU, **settings)


def assert_same(one, other):
    for name in ("gray", "colour", "mix"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def one_cut(picture: torch.Tensor, image_size: int, size: float, left: float, top: float, mirrored: bool = False):
    """The square (3, image_size, image_size) of a picture (3, S, S)."""
    given = torch.tensor([size]), torch.tensor([[left, top]]), torch.tensor([mirrored])
    return cut(picture.unsqueeze(0), image_size, *given)[0]


def test_every_photo_comes_once_before_any_comes_again():
    drawn = np.concatenate([batch_indices(10, 4, seed=3, number=n) for n in range(10)])  # four rounds of ten
    for round_of_ten in drawn.reshape(4, 10):
        assert sorted(round_of_ten) == list(range(10))
    assert len({tuple(r) for r in drawn.reshape(4, 10)}) == 4


def test_batch_follows_from_seed_and_number_alone():
    later = batch_indices(50, 8, seed=1, number=11)
    for number in range(11):
        batch_indices(50, 8, seed=1, number=number)
    np.testing.assert_array_equal(batch_indices(50, 8, seed=1, number=11), later)
    assert (batch_indices(50, 8, seed=2, number=11) != later).any()
    assert (batch_indices(50, 8, seed=1, number=12) != later).any()


def test_batch_larger_than_the_folder_repeats_photos():
    assert np.bincount(batch_indices(3, 8, seed=0, number=0)).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_drawing_a_batch_again_gives_the_same_squares_whatever_was_drawn_between():
    drawn = batches(photographs())
    first, second = drawn.draw(0), drawn.draw(1)
    assert_same(drawn.draw(0), first)
    assert_same(batches(photographs()).draw(1), second)
    other = batches(photographs(), seed=4).draw(0)
    for name in ("gray", "colour", "mix"):
        assert not torch.equal(getattr(other, name), getattr(first, name)), name
        assert not torch.equal(getattr(second, name), getattr(first, name)), name


def test_photos_are_mirrored_about_half_the_time_and_only_if_asked():
    photo = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    photo[:, :, 0] = 255  # bright at the left
    colour = batches(photo, image_size=4, batch_size=400).draw(0).colour
    at_left = (colour[:, 0, 0, 0] > 0).float().mean().item()
    assert 0.4 < at_left < 0.6
    assert (colour[:, 0, 0, 0] == -colour[:, 0, 0, 3]).all()
    colour = batches(photo, image_size=4, batch_size=400, flip=False).draw(0).colour
    assert (colour[:, 0, 0, 0] > 0).all()


@pytest.mark.parametrize(("space", "channels"), [("rgb", 3), ("lab", 2)])
def test_gray_and_colour_are_of_the_same_photo_in_range(space, channels):
    photos = photographs(side=8)
    drawn = batches(photos, batch_size=3, space=space, flip=False)
    batch = drawn.draw(2)
    assert batch.gray.shape == (3, 1, 8, 8)
    assert batch.colour.shape == (3, channels, 8, 8)
    assert batch.mix.shape == (3,)
    assert batch.colour.abs().max() <= 1
    shown = merge_luminance(batch.gray, batch.colour) if space == "lab" else (batch.colour + 1) / 2
    expected = photos[batch_indices(7, 3, 3, 2)].permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(shown, expected, atol=1e-3, rtol=0)


def test_luminance_is_the_same_in_both_colour_spaces():
    one, other = (batches(photographs(), space=space).draw(0).gray for space in ("rgb", "lab"))
    assert torch.allclose(one, other, atol=1e-6)


def test_mix_is_drawn_between_nought_and_one():
    mix = batches(photographs(), batch_size=1000).draw(0).mix
    assert 0 <= mix.min() < 0.02
    assert 0.98 < mix.max() < 1
    assert mix.mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("side", [8, 12])
def test_parts_of_a_batch_add_up_to_the_whole(side):
    photos = photographs(side=side)
    for number in (0, 5):
        whole = batches(photos).draw(number)
        parts = [batches(photos, part=(k, 2)).draw(number) for k in (0, 1)]
        for name in ("gray", "colour", "mix"):
            assert len(getattr(parts[0], name)) == 2
            torch.testing.assert_close(torch.cat([getattr(p, name) for p in parts]), getattr(whole, name))


def test_photos_mapped_from_a_file_give_the_same_batches(tmp_path):
    photos = photographs()
    photos.numpy().tofile(tmp_path / "pixels")
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r+", shape=tuple(photos.shape))
    for number in range(3):
        assert_same(batches(torch.from_numpy(mapped)).draw(number), batches(photos).draw(number))


def test_photos_fetched_ahead_by_a_thread_give_the_same_batches():
    ahead, gathered = batches(photographs()), []
    ahead._fetcher = ThreadPoolExecutor(1)  # as for a GPU that the photos do not lie on
    gather = ahead._gather
    ahead._gather = lambda number: gathered.append(number) or gather(number)
    for number in (0, 1, 2, 7, 8, 0):
        assert_same(ahead.draw(number), batches(photographs()).draw(number))
    ahead._fetcher.shutdown()
    assert gathered == [0, 1, 2, 3, 7, 8, 9, 0, 1]  # each once, but where the order was broken
    assert ahead.waited_s > 0


def test_picture_of_the_right_size_keeps_its_pixels_or_is_mirrored():
    pictures = torch.rand(2, 3, 6, 6)
    size, where = torch.tensor([0.3, 0.9]), torch.tensor([[0.1, 0.8], [0.5, 0.2]])
    shown = cut(pictures, 6, size, where, torch.tensor([False, True]))
    assert torch.equal(shown[0], pictures[0])
    assert torch.equal(shown[1], pictures[1].flip(-1))


# A ramp that rises by 1 a pixel from 0.5 at the first pixel's middle, so that the value is the place. Of 8 pixels a
# square of 4 + 4 * size is shown as 4, from (8 - side) * where on.
@pytest.mark.parametrize(
    ("size", "where", "expected"),
    [
        (0.0, 0.0, [0.5, 1.5, 2.5, 3.5]),  # side 4 at the near end
        (0.0, 1.0, [4.5, 5.5, 6.5, 7.5]),
        (0.0, 0.3, [1.7, 2.7, 3.7, 4.7]),  # begins at 1.2
        (0.5, 0.0, [0.75, 2.25, 3.75, 5.25]),  # side 6, 1.5 a pixel
        (0.5, 0.5, [1.75, 3.25, 4.75, 6.25]),
        (1.0, 0.7, [1.0, 3.0, 5.0, 7.0]),  # the whole picture, wherever it is put
    ],
)
def test_square_of_a_ramp_is_the_ramp_counted_by_hand(size, where, expected):
    across = (torch.arange(8) + 0.5).expand(3, 8, 8)
    wanted = torch.tensor(expected)
    other = 1 - where
    torch.testing.assert_close(one_cut(across, 4, size, where, other), wanted.expand(3, 4, 4))
    torch.testing.assert_close(one_cut(across, 4, size, where, other, True), wanted.flip(0).expand(3, 4, 4))
    down = across.transpose(1, 2)
    for mirrored in (False, True):
        shown = one_cut(down, 4, size, other, where, mirrored)
        torch.testing.assert_close(shown, wanted.view(1, 4, 1).expand(3, 4, 4))


def test_smallest_square_at_a_corner_is_the_pictures_own_pixels():
    picture = torch.rand(3, 8, 8)
    torch.testing.assert_close(one_cut(picture, 5, 0.0, 1.0, 0.0), picture[:, :5, 3:])
    torch.testing.assert_close(one_cut(picture, 5, 0.0, 0.0, 1.0, True), picture[:, 3:, :5].flip(-1))


def test_squares_are_inside_the_picture_and_reach_its_edges():
    # Outside a picture there is nothing but its border again: a ramp would stand still there.
    ramp = (torch.arange(12) + 0.5).expand(500, 3, 12, 12)
    chance = torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
    shown = cut(ramp, 8, chance[:, 0], chance[:, 1:], torch.zeros(500, dtype=torch.bool))[:, 0, 0]  # (500, 8)
    steps = shown.diff(dim=1)
    torch.testing.assert_close(steps, steps[:, :1].expand(-1, 7), atol=1e-4, rtol=0)
    begins, ends = shown[:, 0] - steps[:, 0] / 2, shown[:, -1] + steps[:, 0] / 2
    assert begins.min() >= -1e-4
    assert ends.max() <= 12 + 1e-4
    assert begins.min() < 0.2
    assert ends.max() > 11.8
    assert steps.min().item() == pytest.approx(1.0, abs=0.02)
    assert steps.max().item() == pytest.approx(1.5, abs=0.02)


def test_larger_photos_are_shown_in_squares_of_their_own():
    ramp = (torch.arange(12) * 20).to(torch.uint8).view(1, 1, 12, 1).expand(1, 12, 12, 3)
    colour = batches(ramp, batch_size=64, flip=False).draw(0).colour
    slopes = colour[:, 0, 0].diff(dim=1).mean(dim=1) * 255 / 2 / 20  # photo pixels a shown pixel
    assert slopes.min() >= 1 - 1e-4
    assert slopes.max() <= 1.5 + 1e-4
    assert slopes.std() > 0.1
    assert colour[:, 0, 0, 0].unique().numel() > 60
