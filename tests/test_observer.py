import pytest
import torch

from train.observer import ObserverError, draw_folds, observation, observe, observer_network

torch.set_num_threads(1)  # pictures so small that threads would only wait for each other

FEW = {"steps": 16}


def pictures(n, seed, size=16):
    """Pictures of two smooth coloured fields each, unlike those of any other seed."""
    random = torch.Generator().manual_seed(seed)
    colours = torch.rand(n, 3, 2, 2, generator=random)
    return torch.nn.functional.interpolate(colours, size=(size, size), mode="bilinear")


def desaturated(real, strength=0.3):
    gray = real.mean(dim=1, keepdim=True)
    return gray + (real - gray) * strength


def test_exact_copies_are_ties_and_ties_count_half():
    real = pictures(24, seed=0)
    seen = observe(real, real.clone(), steps=4)
    assert seen.correct == (0.5,) * 24
    assert seen.accuracy == 0.5
    assert seen.low < 0.5 < seen.high


def test_desaturated_pictures_are_told_from_real_ones():
    real = pictures(40, seed=1)
    seen = observe(real, desaturated(real), **FEW)
    assert seen.n_pairs == len(seen.correct) == 40
    assert seen.accuracy > 0.9
    assert seen.low > 0.5


def test_a_shift_of_hue_with_equal_colourfulness_is_told_too():
    # Warm pictures whose fakes have red and blue swapped: as colourful, as light, in the wrong colour.
    real = pictures(40, seed=2) * torch.tensor([1.0, 0.6, 0.3]).view(1, 3, 1, 1)
    assert observe(real, real.flip(1), **FEW).low > 0.5


@pytest.mark.parametrize("seed", range(2))
def test_two_samples_of_the_same_pictures_cannot_be_told(seed):
    seen = observe(pictures(40, seed=10 + seed), pictures(40, seed=20 + seed), seed=seed, **FEW)
    assert seen.low < 0.5 < seen.high


def test_accuracy_is_the_share_of_fakes_that_give_themselves_away():
    # Half of the fakes are gray, the others are their photos: told apart in half of the pairs, ties in the rest.
    real = pictures(40, seed=3)
    fake = torch.cat((desaturated(real[:20], 0), real[20:]))
    seen = observe(real, fake, **FEW)
    assert seen.correct[20:] == (0.5,) * 20
    assert seen.accuracy == pytest.approx(0.75, abs=0.06)


def test_same_seed_gives_the_same_answers_and_leaves_the_global_random_state():
    real, fake = pictures(12, seed=4), pictures(12, seed=5)
    torch.manual_seed(7)
    expected_next = torch.rand(1)
    torch.manual_seed(7)
    first = observe(real, fake, seed=3, steps=5)
    assert torch.rand(1) == expected_next
    assert observe(real, fake, seed=3, steps=5) == first


def test_observer_learns_where_the_caller_computes_no_gradients():
    real = pictures(12, seed=6)
    with torch.no_grad():
        assert observe(real, desaturated(real), steps=2).n_pairs == 12


def test_folds_hold_every_pair_once_and_differ_by_one_at_most():
    folds = draw_folds(23, 5, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(folds).tolist()) == list(range(23))
    assert sorted(len(fold) for fold in folds) == [4, 4, 5, 5, 5]


def test_no_pair_is_judged_by_an_observer_that_learned_from_it(monkeypatch):
    # Every picture holds its pair's number in every pixel, so what an observer was shown can be read back.
    learned, judged = [], []

    class Recorder:
        def __init__(self, device, steps):
            self.learned, self.judged = set(), []
            learned.append(self.learned)
            judged.append(self.judged)

        def learn(self, both):
            numbers = both[:, :, 0].mean(dim=(2, 3)).mul(1e4).round().int()  # (2, pairs)
            assert (numbers[0] == numbers[1]).all()
            self.learned.update(numbers[0].tolist())

        def realism(self, views):
            self.judged.append(views[:, 0].mean(dim=(1, 2)).mul(1e4).round().int().tolist())
            return torch.zeros(len(views))

    monkeypatch.setattr("train.observer._Trainee", Recorder)
    gray = torch.linspace(0.1, 0.9, 15).view(-1, 1, 1, 1).expand(15, 3, 8, 8)
    observe(gray, gray.clone(), steps=40)
    assert len(learned) == 5
    for seen, (real, fake) in zip(learned, judged, strict=True):
        assert real == fake
        assert not seen & set(real)
        assert len(seen) == 12
    assert len({number for real, _ in judged for number in real}) == 15


def test_progress_has_a_step_for_each_step_of_learning():
    shown = []

    def progress(items):
        for item in items:
            shown.append(item)
            yield item

    real = pictures(10, seed=8)
    observe(real, real.clone(), steps=3, progress=progress)
    assert shown == [0, 1, 2]


def test_interval_is_the_published_one():
    # Newcombe (1998), Table I, method 3: 81 of 263 is 0.2553 to 0.3662.
    seen = observation([1.0] * 81 + [0.0] * 182)
    assert (round(seen.low, 4), round(seen.high, 4)) == (0.2553, 0.3662)


def test_a_tie_widens_the_interval_to_both_whole_counts():
    half, none, one = observation([1, 0, 0.5]), observation([1, 0, 0]), observation([1, 0, 1])
    assert half.accuracy == 0.5
    assert (half.low, half.high) == (none.low, one.high)


def test_interval_of_no_pair_is_refused():
    with pytest.raises(ObserverError, match="no pair to observe"):
        observation([])


def test_observer_is_small_and_takes_any_size():
    network = observer_network()
    assert 30_000 < sum(p.numel() for p in network.parameters()) < 60_000
    assert network(torch.zeros(2, 3, 20, 33)).shape == (2, 1)


@pytest.mark.parametrize("size", [(96, 160), (160, 96), (7, 9)])
def test_pictures_of_any_shape_are_seen(size):
    real = torch.rand(10, 3, *size, generator=torch.Generator().manual_seed(0))
    assert observe(real, real.flip(1), steps=1).n_pairs == 10


def test_too_few_pairs_and_unlike_shapes_are_refused():
    with pytest.raises(ObserverError, match="needs at least 10 pairs, there are 9"):
        observe(pictures(9, seed=0), pictures(9, seed=1))
    with pytest.raises(ObserverError, match="give pairs of one size"):
        observe(pictures(10, seed=0), pictures(11, seed=1))
