# AdamW as TS-CAM uses it on CUB: 5e-5 in epochs 1-29, 5e-6 in 30-59, 5e-7 in 60.
# The rule: the rate falls at the start of every epoch whose number (from 1) is a multiple of a step.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    # No weight decay on one-dimensional tensors, biases, class token and position embedding.
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys={'cls_token': dict(decay_mult=0.0), 'pos_embed': dict(decay_mult=0.0)},
    ),
)
param_scheduler = [dict(type='ModuloStepLR', steps=[30], gamma=0.1, by_epoch=True, end=60)]
train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=1)
val_cfg = dict()
test_cfg = dict()
