# GEM at 448x448 with the settings of the paper, and what is reported. Nothing is trained:
# python tools/test.py CONFIG none
_base_ = [
    '../../_base_/models/clip-vit-b-16.py',
    '../../_base_/pipelines/squash_448_bicubic.py',
    '../../_base_/default_runtime.py',
]

model = dict(head=dict(type='GEMHead'), backbone=dict(depth=7, ss_attn_iter=1))
val_evaluator = dict(
    type='LocalizationMetric',
    protocols=[
        'maxboxacc',
        'maxboxacc_v2',
        # GT-known, Top-1 and Top-5 Loc of these boxes, at the threshold that is best for the first two.
        dict(name='maxboxacc', alias='loc', threshold_choice='joint', report='localization'),
    ],
)
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(visualization=dict(protocol='maxboxacc', threshold=0.5))
# Names that the config does not give are those of the data; before their number is compared.
custom_hooks = [dict(type='ClassNamesHook', priority='ABOVE_NORMAL')]
