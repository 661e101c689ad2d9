_base_ = [
    '../_base_/models/dinov3-s.py',
    '../_base_/datasets/cub.py',
    './_base_/probe.py',
]

model = dict(head=dict(type='GraphCutHead', num_classes=200, features='tokens', threshold=0.4, as_mask=True))
