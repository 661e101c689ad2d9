# TriLite's head on data and networks for which nothing is published: normed tokens, and what keeps foreground
# and background from changing places, which else depends on the seed. The guard starts a training anew in
# which they do. A config takes the head as dict(**_base_.trilite_head, num_classes=...).
trilite_head = dict(
    type='TriLiteHead',
    tokens='normed',
    region_dropout=0.5,
    dropout=0.5,
    border_weight=5.0,
)
custom_hooks = [dict(type='MapGuardHook', max_restarts=3)]
