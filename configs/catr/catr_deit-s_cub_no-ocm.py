# CATR without OCM, the object constraint module.
_base_ = './catr_deit-s_cub.py'

model = dict(head=dict(ocm=None))
