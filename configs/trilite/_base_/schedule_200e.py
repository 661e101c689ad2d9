# AdamW as TriLite uses it on CUB: constant rates, 5e-5 for the regions and ten times that for the classifier
# of the class token, weight decay on everything. The reference stops by the boxes of a validation split; here
# the number of epochs is fixed.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'head.classifier': dict(lr_mult=10)}),
)
param_scheduler = []
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=10)
val_cfg = dict()
test_cfg = dict()
# It says when foreground and background have changed places, and changes nothing.
custom_hooks = [dict(type='MapGuardHook')]
