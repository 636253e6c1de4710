import numpy as np
import torch

from train.batches import batch_indices, draw_batch


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


def test_photos_are_mirrored_about_half_the_time_and_only_if_asked():
    pixels = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    pixels[..., 0] = 255  # bright at the left
    _, colour = draw_batch(pixels, 400, seed=0, number=0, flip=True)
    at_left = (colour[:, 0, 0, 0] > 0).float().mean().item()
    assert 0.4 < at_left < 0.6
    _, colour = draw_batch(pixels, 400, seed=0, number=0, flip=False)
    assert (colour[:, 0, 0, 0] > 0).all()


def test_gray_and_colour_are_of_the_same_photo_in_range():
    pixels = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    gray, colour = draw_batch(pixels, 3, seed=0, number=2, flip=True)
    assert gray.shape == (3, 1, 8, 8)
    assert colour.shape == (3, 3, 8, 8)
    assert colour.abs().max() <= 1
    brightness = colour.mean(dim=1).flatten()
    assert torch.corrcoef(torch.stack((gray.flatten(), brightness)))[0, 1] > 0.7
