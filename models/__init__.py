"""Networks, losses and colour spaces: tensors in, tensors out."""
