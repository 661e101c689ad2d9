# Everything of LCTR on ILSVRC but the model.
_base_ = [
    '../../_base_/datasets/ilsvrc-deit-aug.py',
    '../../_base_/pipelines/short-side-crop_224_bilinear.py',
    '../../_base_/schedules/adamw-late-cosine_14e.py',
    '../../_base_/default_runtime.py',
]

# The reference trains with 1024 images in all, on 4 GPUs; on others set batch_size=1024/N or pass
# --auto-scale-lr.
train_dataloader = dict(batch_size=256, num_workers=10)
# DeiT's own evaluation resizes bicubically.
val_dataloader = dict(batch_size=192, dataset=dict(pipeline=_base_.short_side_crop_224_bilinear))
test_dataloader = dict(batch_size=192, dataset=dict(pipeline=_base_.short_side_crop_224_bilinear))
auto_scale_lr = dict(base_batch_size=1024)
# The highest rate reached is 8e-4, in the sixth epoch.
optim_wrapper = dict(optimizer=dict(lr=1e-3))

val_evaluator = dict(type='LocalizationMetric', protocols=['lctr'], tuned_on='ilsvrc')
test_evaluator = val_evaluator
default_hooks = dict(
    # Validation runs once, so the best checkpoint is the last one. LCTR counts the predicted class's map.
    checkpoint=dict(save_best='lctr/GT-known_Loc_predicted', rule='greater'),
    visualization=dict(protocol=dict(name='lctr', tuned_on='ilsvrc')),
)
# Drop-path draws differently on every GPU.
randomness = dict(seed=0, diff_rank_seed=True)
