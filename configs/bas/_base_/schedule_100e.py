# SGD as BAS uses it on CUB: 1e-3 for the pretrained weights, divided by 10 for the last 20 of 100 epochs.
# Biases learn twice as fast, batch norm's too; classifier and generator ten times, their biases twenty times.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4),
    paramwise_cfg=dict(
        # The longest key that is part of a name counts.
        custom_keys={
            '.bias': dict(lr_mult=2),
            'head.classifier': dict(lr_mult=10),
            'head.generator': dict(lr_mult=10),
            'head.classifier.0.bias': dict(lr_mult=20),
            'head.classifier.2.bias': dict(lr_mult=20),
            'head.classifier.4.bias': dict(lr_mult=20),
            'head.generator.bias': dict(lr_mult=20),
        },
    ),
)
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[80], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
val_cfg = dict()
test_cfg = dict()
