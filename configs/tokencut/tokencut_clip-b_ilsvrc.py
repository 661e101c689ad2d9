_base_ = [
    '../_base_/models/clip-b.py',
    '../_base_/datasets/ilsvrc.py',
    './_base_/probe.py',
]

model = dict(head=dict(type='GraphCutHead', num_classes=1000, threshold=0.2, as_mask=True))
