_base_ = ['../_base_/models/clip-b.py', './_base_/cub.py']

model = dict(head=dict(type='ClassAttentionHead', num_classes=200))
