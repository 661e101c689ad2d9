# FOUND's head on a network for whose keys no threshold is published: pseudo masks of 0.3 of the images, which
# the decoder follows alone at first; those that it then teaches itself keep at least 0.8 of that area. A
# config takes it as dict(**_base_.found_head, num_classes=...).
found_head = dict(
    type='FOUNDHead',
    dropout=0.5,
    pseudo_masks=dict(type='BackgroundMasks', target_area=0.3),
    mask_loss=dict(first_targets='pseudo'),
    min_share=0.8,
)
