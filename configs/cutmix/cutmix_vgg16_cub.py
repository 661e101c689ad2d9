_base_ = ['./_base_/vgg16.py', '../_base_/settings/wsol-benchmark_cub.py']

model = dict(head=dict(num_classes=200))
optim_wrapper = dict(optimizer=dict(lr=3.220934e-5))
