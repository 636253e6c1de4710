import subprocess
import sys

PLAIN_IMPORT_FAILS = """
import torch
declared = []
define = torch.library.Library.define
torch.library.Library.define = lambda self, schema, *a, **k: (declared.append(schema), define(self, schema, *a, **k))[1]
from train import vision
print(vision.make_grid(torch.zeros(4, 3, 2, 2), nrow=2).shape, len([s for s in declared if "nms" in s]))
"""

COMPLETE_INSTALL = """
import sys, types, torch
library = torch.library.Library("torchvision", "DEF")  # stands for the compiled operators
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import torchvision
before = torchvision
def refuse(*given):
    raise AssertionError("declared again")
torch.library.Library = refuse
from train import vision
print(sys.modules["torchvision"] is before)
"""


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchvision_opens_with_at_most_its_two_missing_operators_declared():
    assert run(PLAIN_IMPORT_FAILS) in ("torch.Size([3, 10, 10]) 2", "torch.Size([3, 10, 10]) 0")


def test_complete_torchvision_is_left_untouched():
    assert run(COMPLETE_INSTALL) == "True"
