"""Where tensors are computed."""

import torch

from protocol import InputError


class DeviceError(InputError):
    """A device that is asked for and not there."""


def pick_device(name: str) -> torch.device:
    """The device "cpu" or "cuda"; "auto" takes CUDA where there is one.

    Raises:
        DeviceError: if CUDA is asked for and absent.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device is 'cuda', but torch finds no CUDA device; use --device cpu, or install a CUDA build")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
