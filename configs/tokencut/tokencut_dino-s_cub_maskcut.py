# MaskCut: one object after the other; the first is the map.
_base_ = './tokencut_dino-s_cub.py'

model = dict(head=dict(mode='maskcut', threshold=0.15))
