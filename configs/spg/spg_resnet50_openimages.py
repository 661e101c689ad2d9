_base_ = ['./_base_/resnet50.py', '../_base_/settings/wsol-benchmark_openimages.py']

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=2.3222617e-4))
