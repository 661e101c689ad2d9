# CATR without CSM, the category-aware stimulation module.
_base_ = './catr_deit-s_cub.py'

model = dict(head=dict(csm=None))
