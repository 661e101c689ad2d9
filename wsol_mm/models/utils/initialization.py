"""Initial weights of the convolutional networks and their heads."""

#: Kaiming normal with fan-out and the gain of ReLU, or Xavier uniform; biases are 0.
CONV_INITS = {
    'kaiming': dict(type='Kaiming', layer='Conv2d'),
    'xavier': dict(type='Xavier', layer='Conv2d', distribution='uniform'),
}


def network_init(conv_init: str) -> list[dict]:
    """Return the initialisation config of a network (docs/specifications/cnn_baselines.md, section 2.5).

    Batch norms start with 1 and 0, linear layers with N(0, 0.01) and 0.

    Args:
        conv_init: What convolutions start with: ``'kaiming'`` (normal, fan-out, for ReLU) or ``'xavier'``
            (uniform).

    Raises:
        ValueError: If it is neither.
    """
    if conv_init not in CONV_INITS:
        raise ValueError(f'conv_init: expected one of {list(CONV_INITS)}, got {conv_init!r}')
    return [
        dict(CONV_INITS[conv_init]),
        dict(type='Constant', layer='BatchNorm2d', val=1),
        dict(type='Normal', layer='Linear', std=0.01),
    ]
