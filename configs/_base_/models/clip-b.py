# The image tower of OpenAI's CLIP ViT-B/16, frozen: only the head is trained. Takes any multiple of 16. Its
# weights need QuickGELU, as the models have that are named so.
model = dict(
    type='ImageLocalizer',
    pretrained='timm://vit_base_patch16_clip_quickgelu_224.openai',
    backbone=dict(
        type='TimmBackbone', model_name='vit_base_patch16_clip_quickgelu_224.openai', attention_layers=1
    ),
    # Mean and standard deviation are those of the backbone.
    data_preprocessor=dict(type='LocalizationDataPreprocessor'),
    frozen=['backbone.*'],
)
