# FOUND's schedule: 500 iterations of AdamW at 0.05, times 0.95 every 50. The classifier of the class token,
# which FOUND does not have, learns at 3e-3. A collapse starts the training anew.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.05, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'head.classifier': dict(lr_mult=0.06)}),
)
param_scheduler = [dict(type='StepLR', by_epoch=False, step_size=50, gamma=0.95)]
train_cfg = dict(by_epoch=False, max_iters=500, val_interval=500)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=50)
log_processor = dict(by_epoch=False)
custom_hooks = [dict(type='MapGuardHook', max_restarts=3)]
