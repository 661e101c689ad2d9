# FOUND on a folder of one's own images, of the size that the backbone was made for. Everything but the model.
_base_ = [
    '../../_base_/datasets/folder.py',
    '../../_base_/pipelines/squash_model.py',
    './schedule_500i.py',
    '../../_base_/default_runtime.py',
]

load_image = dict(type='LoadImageWithPillow', apply_exif=True)
test_pipeline = [load_image, *_base_.squash_model[1:]]
train_pipeline = [
    *test_pipeline[:-1],
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    test_pipeline[-1],
]

# Mean and standard deviation are those of the backbone.
data_preprocessor = dict(_delete_=True, type='LocalizationDataPreprocessor')
train_dataloader = dict(
    batch_size=50,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='LocalizationMetric', protocols=['found', 'maxboxacc', 'maxboxacc_v2'])
test_evaluator = val_evaluator
default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=100),
    visualization=dict(protocol='found'),
)
