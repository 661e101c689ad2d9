# A folder of one's own images for a head on a frozen backbone: images of the size that the backbone was made
# for, 40 epochs of AdamW 1e-3 at batch 128, in seconds each from cached features. Everything but the model.
_base_ = [
    '../datasets/folder.py',
    '../pipelines/squash_model.py',
    '../default_runtime.py',
]

load_image = dict(type='LoadImageWithPillow', apply_exif=True)
train_pipeline = [load_image, *_base_.random_crop_model[1:]]
test_pipeline = [load_image, *_base_.squash_model[1:]]

# Mean and standard deviation are those of the backbone.
data_preprocessor = dict(_delete_=True, type='LocalizationDataPreprocessor')
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
)
param_scheduler = []
train_cfg = dict(by_epoch=True, max_epochs=40, val_interval=40)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=128)
default_hooks = dict(logger=dict(interval=10))
