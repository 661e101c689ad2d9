"""A localizer as one function of tensors, and its export to ONNX and torch.export."""
