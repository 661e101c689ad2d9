# OpenAI's CLIP ViT-B/16 of open_clip, image tower and texts, as it is: nothing is trained. Without a network
# give its file: model.clip.pretrained=PATH.
model = dict(
    type='CLIPLocalizer',
    # Its weights need QuickGELU, as the models have that are named so.
    clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
    backbone=dict(type='CLIPVisionTransformer'),
    # Mean and standard deviation are those of the weights.
    data_preprocessor=dict(type='LocalizationDataPreprocessor'),
)
