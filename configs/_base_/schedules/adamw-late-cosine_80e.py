# AdamW, 80 epochs of a cosine from 5e-5 to 1e-5, its first 5 epochs replaced by a warm-up from 1e-6, as
# published code steps it: one epoch late. Epochs 1 and 2 both run at 1e-6, and every later one at the rate
# meant for the one before it. one_epoch_late=False corrects that.
optim_wrapper = dict(
    # The references train in float16 with a loss scale: pass --amp to tools/train.py.
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    # No weight decay on one-dimensional tensors, biases, class token and position embedding.
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys={'cls_token': dict(decay_mult=0.0), 'pos_embed': dict(decay_mult=0.0)},
    ),
)
param_scheduler = [
    dict(
        type='WarmupInCosineLR',
        epochs=80,
        warmup_epochs=5,
        warmup_lr=1e-6,
        min_lr=1e-5,
        one_epoch_late=True,
        by_epoch=True,
    )
]
# The references evaluate once, after the last epoch; there is no choice of a best checkpoint.
train_cfg = dict(by_epoch=True, max_epochs=80, val_interval=80)
val_cfg = dict()
test_cfg = dict()
