# A trial of the whole path where CLIP is not at hand: two epochs with a small CLIP of random weights. It
# teaches nothing; the SBA is noise here.
_base_ = './cdtr_vit-t_cub40.py'

small_clip = dict(
    embed_dim=64,
    quick_gelu=True,
    vision_cfg=dict(layers=2, width=128, head_width=64, patch_size=32, image_size=224),
    text_cfg=dict(context_length=77, vocab_size=49408, width=64, heads=2, layers=2),
)
model = dict(head=dict(sba=dict(clip=dict(model=small_clip, pretrained=None))))
train_cfg = dict(max_epochs=2)
