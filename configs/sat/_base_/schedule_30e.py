# AdamW as SAT uses it on CUB: 1e-4 in all 30 epochs. The reference computes a cosine schedule but never gives
# it to its optimizer; for one, set
# param_scheduler = [dict(type='CosineAnnealingLR', T_max=30, eta_min=1e-6, convert_to_iter_based=True)]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    # No weight decay on one-dimensional tensors. The reference means to exempt tokens and position embeddings
    # as well, but its optimizer does not see that; to do so, add custom_keys={'_token': dict(decay_mult=0.0),
    # 'pos_embed': dict(decay_mult=0.0)}.
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = []
# The reference evaluates after the 26th epoch and from then on.
train_cfg = dict(by_epoch=True, max_epochs=30, val_begin=26, val_interval=1)
val_cfg = dict()
test_cfg = dict()
