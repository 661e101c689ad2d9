# What is reported of a model that needs no training: python tools/test.py CONFIG none
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
