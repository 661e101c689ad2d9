# Pseudo masks: where the class token's attention is above its mean.
_base_ = './found_vit-t-frozen_cub40.py'

model = dict(head=dict(pseudo_masks=dict(_delete_=True, type='AttentionMasks')))
