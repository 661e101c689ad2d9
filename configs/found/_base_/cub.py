# Everything of FOUND on CUB but the model. The last checkpoint is the result: nothing is chosen.
_base_ = [
    '../../_base_/datasets/cub.py',
    './detail_224.py',
    './schedule_500i.py',
    '../../_base_/default_runtime.py',
]

train_dataloader = dict(
    batch_size=50,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=_base_.detail_224),
)
val_evaluator = dict(type='LocalizationMetric', protocols=['found', 'maxboxacc', 'maxboxacc_v2'])
test_evaluator = val_evaluator
default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=100),
    visualization=dict(protocol='found'),
)
