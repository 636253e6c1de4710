"""The one door to torchvision, which opens beside a CPU-only torch as well."""

import torch

# torchvision's compiled operators do not load beside a CPU-only torch, and the import stops at the first of them that
# it attaches a shape rule to. Declaring these two is enough for all that is used here.
MISSING_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _declare_missing_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "DEF")
    for schema in MISSING_OPERATORS:
        library.define(schema)
    return library  # the declarations live as long as this does


try:
    from torchvision.utils import make_grid, save_image
except RuntimeError as error:
    if "torchvision::nms does not exist" not in str(error):
        raise
    _declared = _declare_missing_operators()
    from torchvision.utils import make_grid, save_image

__all__ = ["make_grid", "save_image"]
