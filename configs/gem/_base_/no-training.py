# GEM at 448x448 with the settings of the paper, and what is reported. Nothing is trained:
# python tools/test.py CONFIG none
_base_ = [
    '../../_base_/models/clip-vit-b-16.py',
    '../../_base_/pipelines/squash_448_bicubic.py',
    '../../_base_/settings/no-training.py',
    '../../_base_/default_runtime.py',
]

model = dict(head=dict(type='GEMHead'), backbone=dict(depth=7, ss_attn_iter=1))
default_hooks = dict(visualization=dict(protocol='maxboxacc', threshold=0.5))
# Names that the config does not give are those of the data; before their number is compared.
custom_hooks = [dict(type='ClassNamesHook', priority='ABOVE_NORMAL')]
