# MobileNet v1 of half the width with maps of a sixteenth of the image's sides, from scratch: for CPUs.
model = dict(
    type='ImageLocalizer',
    backbone=dict(
        type='MobileNetV1',
        width=0.5,
        init_cfg=[
            dict(type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu'),
            dict(type='Constant', layer='BatchNorm2d', val=1, bias=0),
        ],
    ),
    head=dict(in_channels=512),
)
