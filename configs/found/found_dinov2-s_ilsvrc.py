_base_ = ['../_base_/models/dinov2-s.py', './_base_/ilsvrc.py', './_base_/head.py']

model = dict(head=dict(**_base_.found_head, num_classes=1000))
