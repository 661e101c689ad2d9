# Everything of LCTR on ILSVRC but the model.
_base_ = [
    '../datasets/ilsvrc-lctr.py',
    '../schedules/lctr_14e.py',
    '../default_runtime.py',
]

# The reference trains with 1024 images in all, on 4 GPUs; on others set batch_size=1024/N or pass
# --auto-scale-lr.
train_dataloader = dict(batch_size=256, num_workers=10)
val_dataloader = dict(batch_size=192)
test_dataloader = dict(batch_size=192)
auto_scale_lr = dict(base_batch_size=1024)

val_evaluator = dict(type='LocalizationMetric', protocols=['lctr'], dataset='ilsvrc')
test_evaluator = val_evaluator
default_hooks = dict(
    # Validation runs once, so the best checkpoint is the last one. LCTR counts the predicted class's map.
    checkpoint=dict(save_best='lctr/GT-known_Loc_predicted', rule='greater'),
    visualization=dict(protocol=dict(name='lctr', dataset='ilsvrc')),
)
# Drop-path draws differently on every GPU.
randomness = dict(seed=0, diff_rank_seed=True)
