# SAT with fewer trained parameters: spatial token and its position, the last three layers (the masked ones),
# the final norm and the head. The paper reports four growing sets of tuned parameters, and which they are is
# not published; this is one choice.
_base_ = './sat_deit-s_ilsvrc.py'

model = dict(
    frozen=[
        'backbone.patch_embed.*',
        'backbone.cls_token',
        'backbone.pos_embed',
        'backbone.layers.[0-8].*',
    ]
)
