_base_ = [
    '../_base_/models/vit-t-frozen.py',
    '../_base_/datasets/ilsvrc.py',
    './_base_/probe.py',
]

model = dict(
    head=dict(type='GraphCutHead', num_classes=1000, features='tokens', threshold=0.75, as_mask=True)
)
