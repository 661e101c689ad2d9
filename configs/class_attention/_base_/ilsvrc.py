# Everything of the class attention but the model: images of the size that the backbone was made for; nothing
# but the linear classifier of the class token is trained.
_base_ = [
    '../../_base_/datasets/ilsvrc.py',
    '../../_base_/pipelines/squash_model.py',
    '../../_base_/schedules/adamw-cosine_12e.py',
    '../../_base_/default_runtime.py',
]

train_dataloader = dict(dataset=dict(pipeline=_base_.random_crop_model))
val_dataloader = dict(dataset=dict(pipeline=_base_.squash_model))
test_dataloader = dict(dataset=dict(pipeline=_base_.squash_model))
val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
test_evaluator = val_evaluator
default_hooks = dict(
    # The map needs no training: the classifier is chosen.
    checkpoint=dict(save_best='Top-1_Cls', rule='greater'),
    visualization=dict(protocol='maxboxacc', threshold=0.3),
)
