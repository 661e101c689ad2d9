# SGD as the WSOL benchmark uses it on VGG16 and Inception v3: the head learns ten times as fast as the rest,
# and weight decay is on everything. A config sets the rate.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', momentum=0.9, nesterov=True, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={'head.': dict(lr_mult=10)}),
)
