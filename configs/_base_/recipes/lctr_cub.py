# Everything of LCTR on CUB but the model.
_base_ = [
    '../datasets/cub-lctr.py',
    '../schedules/adamw-late-cosine_80e.py',
    '../default_runtime.py',
]

# The reference trains with 512 images in all, on 4 GPUs; on others set batch_size=512/N or pass
# --auto-scale-lr.
train_dataloader = dict(batch_size=128, num_workers=10)
val_dataloader = dict(batch_size=192)
test_dataloader = dict(batch_size=192)
auto_scale_lr = dict(base_batch_size=512)

val_evaluator = dict(type='LocalizationMetric', protocols=['lctr'], dataset='cub')
test_evaluator = val_evaluator
default_hooks = dict(
    # Validation runs once, so the best checkpoint is the last one. LCTR counts the predicted class's map.
    checkpoint=dict(save_best='lctr/GT-known_Loc_predicted', rule='greater'),
    visualization=dict(protocol=dict(name='lctr', dataset='cub')),
)
# Drop-path draws differently on every GPU.
randomness = dict(seed=0, diff_rank_seed=True)
