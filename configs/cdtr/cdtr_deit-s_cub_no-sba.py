# CDTR without SBA, the semantic boost adapter, so without CLIP.
_base_ = './cdtr_deit-s_cub.py'

model = dict(head=dict(sba=None))
