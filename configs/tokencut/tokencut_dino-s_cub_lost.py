# LOST: no eigenvector, the fastest of the three.
_base_ = './tokencut_dino-s_cub.py'

model = dict(head=dict(mode='lost'))
