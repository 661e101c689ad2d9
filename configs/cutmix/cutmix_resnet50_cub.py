_base_ = ['./_base_/resnet50.py', '../_base_/settings/wsol-benchmark_cub.py']

model = dict(backbone=dict(strides=(1, 2, 1, 1)), head=dict(num_classes=200))
optim_wrapper = dict(optimizer=dict(lr=3.333722e-4))
