_base_ = ['./_base_/inceptionv3.py', '../_base_/settings/wsol-benchmark_cub.py']

model = dict(backbone=dict(output_stride=8), head=dict(num_classes=200))
optim_wrapper = dict(optimizer=dict(lr=6.58832165e-3))
