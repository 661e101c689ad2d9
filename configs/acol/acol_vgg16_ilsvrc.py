_base_ = ['./_base_/vgg16.py', '../_base_/settings/wsol-benchmark_ilsvrc.py']

model = dict(head=dict(num_classes=1000))
optim_wrapper = dict(optimizer=dict(lr=1.654502e-5))
