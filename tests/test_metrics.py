import pytest
import torch

from train.metrics import colourfulness, held_out_measures


def test_gray_has_no_colourfulness():
    assert colourfulness(torch.rand(2, 1, 4, 4).expand(2, 3, 4, 4)).tolist() == pytest.approx([0, 0], abs=1e-4)


def test_colourfulness_counted_by_hand():
    # Half red, half blue: rg is 255 and 0, yb is 127.5 and -255.
    picture = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]).T.reshape(1, 3, 1, 2)
    deviation, mean = (127.5**2 + 191.25**2) ** 0.5, (127.5**2 + 63.75**2) ** 0.5
    assert colourfulness(picture).item() == pytest.approx(deviation + 0.3 * mean, rel=1e-5)


def test_held_out_measures_of_an_inverted_picture():
    real = torch.full((1, 3, 2, 2), 0.5)
    measures = held_out_measures(real, -real)
    assert measures["held_out_l1"] == pytest.approx(1.0)
    assert measures["held_out_colourfulness"] == pytest.approx(0, abs=1e-4)
