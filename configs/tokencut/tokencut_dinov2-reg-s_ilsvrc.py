_base_ = [
    '../_base_/models/dinov2-reg-s.py',
    '../_base_/datasets/ilsvrc.py',
    './_base_/probe.py',
]

model = dict(head=dict(type='GraphCutHead', num_classes=1000, features='tokens', threshold=0.4, as_mask=True))
