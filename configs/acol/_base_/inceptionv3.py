# ACoL on Inception v3.
_base_ = ['../../_base_/models/inceptionv3.py', '../../_base_/schedules/sgd-head-x10.py']

model = dict(head=dict(type='ACoLHead', erase_threshold=0.79))
