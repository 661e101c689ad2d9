_base_ = ['./_base_/inceptionv3.py', '../_base_/settings/wsol-benchmark_ilsvrc.py']

model = dict(head=dict(num_classes=1000))
optim_wrapper = dict(optimizer=dict(lr=3.606503e-4))
