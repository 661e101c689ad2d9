_base_ = ['../_base_/models/dino-s.py', './_base_/cub.py', './_base_/head_cub.py']

model = dict(head=dict(**_base_.found_head, num_classes=200))
