# CDTR without SKI, the semantic kernel integrator.
_base_ = './cdtr_deit-s_cub.py'

model = dict(head=dict(ski=None))
