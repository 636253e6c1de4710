"""One training on several processes (torchrun): who this process is, and what all of them must agree on.

Each process holds the whole state and draws its share of every batch, so a checkpoint knows nothing of their number.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from train.device import DeviceError, pick_device


@dataclass(frozen=True)
class Processes:
    """This process among all of them; on its own it is process 0 of 1."""

    device: torch.device
    rank: int = 0
    n: int = 1
    rank_here: int = 0  # among those of this machine

    @property
    def is_writer(self) -> bool:
        return self.rank == 0

    def sum(self, numbers: Tensor) -> Tensor:
        """The elementwise sum over all processes."""
        if self.n > 1:
            numbers = numbers.clone()
            dist.all_reduce(numbers)
        return numbers

    def any(self, claim: bool) -> bool:
        """Whether the claim is true in any process."""
        return bool(self.sum(torch.tensor(float(claim), device=self.device)) > 0) if self.n > 1 else claim

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.n > 1:
            dist.barrier()

    @contextmanager
    def one_here_first(self) -> Iterator[None]:
        """Within it, one process of each machine goes before the others: they find on its disk what it has made."""
        if self.rank_here > 0:
            self.wait()
        yield
        if self.rank_here == 0:
            self.wait()

    def share(self, network: nn.Module) -> nn.Module:
        """The network with its gradients averaged and its batch norm's statistics taken over all processes."""
        if self.n == 1:
            return network
        share_batch_norm(network)
        # Batch norm's running statistics are equal in all processes already.
        return DistributedDataParallel(network, broadcast_buffers=False)


@contextmanager
def join_processes(device_name: str) -> Iterator[Processes]:
    """The processes that torchrun started, if it did; ``device_name`` as for ``pick_device``.

    Raises:
        DeviceError: if CUDA is asked for and absent, or has fewer devices than this machine has processes.
    """
    n, rank, local_rank = (int(os.environ.get(name, default)) for name, default in SET_BY_TORCHRUN)
    device = pick_device(device_name)
    torch.backends.cudnn.benchmark = True  # every batch has the same shape: the fastest kernel is looked for once
    if n == 1:
        yield Processes(device)
        return
    if device.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise DeviceError(
                f"process {local_rank} of this machine has no GPU: torch finds {torch.cuda.device_count()}; "
                "start as many processes as there are GPUs (torchrun --nproc-per-node)"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(device, rank, n, local_rank)
    finally:
        dist.destroy_process_group()


SET_BY_TORCHRUN = (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(x: Tensor) -> Tensor:
    return cast(Tensor, _SumOverProcesses.apply(x))


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, on any device; torch's own is for CUDA only."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        n = x.numel() // x.shape[1] * dist.get_world_size()
        x32 = x.float()
        mean = _sum_over_processes(x32.sum(dim=(0, 2, 3))) / n  # (C,)
        centred = x32 - mean.view(1, -1, 1, 1)
        variance = _sum_over_processes(centred.square().sum(dim=(0, 2, 3))) / n  # (C,)
        with torch.no_grad():
            cast(Tensor, self.num_batches_tracked).add_(1)
            cast(Tensor, self.running_mean).lerp_(mean, cast(float, self.momentum))
            cast(Tensor, self.running_var).lerp_(variance * n / (n - 1), cast(float, self.momentum))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)


def share_batch_norm(network: nn.Module) -> None:
    """Put shared batch norm in the place of each batch norm of the network; parameters and buffers stay the same."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, _shared(child))


def _shared(norm: nn.BatchNorm2d) -> nn.Module:
    if norm.weight.device.type == "cuda":
        return cast(nn.Module, nn.SyncBatchNorm.convert_sync_batchnorm(norm))
    shared = SharedBatchNorm(norm.num_features, norm.eps, cast(float, norm.momentum))
    shared._parameters, shared._buffers = norm._parameters, norm._buffers
    return shared.train(norm.training)
