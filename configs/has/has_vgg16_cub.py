_base_ = ['./_base_/vgg16.py', '../_base_/settings/wsol-benchmark_cub.py']

model = dict(head=dict(num_classes=200))
optim_wrapper = dict(optimizer=dict(lr=1.42891848e-3))
