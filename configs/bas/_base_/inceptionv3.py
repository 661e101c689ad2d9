# Inception v3 up to Mixed_6e, a map of an eighth of the image's sides; Mixed_7a to 7c belong to the head.
_base_ = '../../_base_/models/inceptionv3.py'

model = dict(
    backbone=dict(output_stride=8),
    head=dict(type='BASHead', in_channels=768, back_end=dict(type='InceptionBackEnd')),
)
