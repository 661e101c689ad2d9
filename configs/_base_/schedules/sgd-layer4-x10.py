# SGD as the WSOL benchmark uses it on ResNet-50: layer4 and a linear classifier learn ten times as fast as
# the rest; the new layers of any other head do not. A config sets the rate.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', momentum=0.9, nesterov=True, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys={'backbone.layer4.': dict(lr_mult=10), 'head.fc.': dict(lr_mult=10)},
    ),
)
