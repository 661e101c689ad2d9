"""CLIP as CDTR uses it: the tiny CLIP, the SBA alone, the loss weights, the class names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from wsol_mm.models.clip import FrozenCLIP, load_class_names
from wsol_mm.models.clip.loading import LoadedCLIP, load_clip
from wsol_mm.models.losses import AutomaticLossWeighting, SemanticBoostAdapter
from wsol_mm.models.losses.semantic_boost_adapter import foreground_contrast_loss

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .. import models as run
from ..case import Case
from ..comparison import Comparison, Found, equal, failure
from ..engine import checks, computes

#: What the reference calls the lists of class names, and what they are called here.
NAME_LISTS = {'CUB': 'cub', 'IMNET': 'ilsvrc'}


@contextmanager
def clip_options(case: Case, args: Mapping) -> Iterator[dict]:
    """Give the arguments of :class:`FrozenCLIP` for the weights ``state/`` of a case, from a file on disk."""
    config = dict(
        embed_dim=args['embed_dim'],
        vision_cfg=dict(
            layers=args['vision_layers'],
            width=args['vision_width'],
            head_width=64,
            patch_size=args['vision_patch_size'],
            image_size=args['image_resolution'],
        ),
        text_cfg=dict(
            context_length=args['context_length'],
            vocab_size=args['vocab_size'],
            width=args['transformer_width'],
            heads=args['transformer_heads'],
            layers=args['transformer_layers'],
        ),
        quick_gelu=True,
    )
    with TemporaryDirectory() as folder, run.quiet():
        path = Path(folder, 'clip.pt')
        torch.save(case.state(), path)
        yield dict(model=config, pretrained=str(path))


@contextmanager
def adapter_options(case: Case) -> Iterator[dict | None]:
    """Give the arguments of the SBA of a case; None if the case has no CLIP.

    Raises:
        ValueError: If the description does not name the case with the weights.
    """
    if 'clip' not in case.meta:
        yield None
        return
    weights = case.sibling(case.meta['clip']['state'])
    with clip_options(weights, case.meta['clip']['args']) as clip:
        options = dict(clip=clip, loss_weight=case.meta.get('sba_weight', 1.0))
        if 'dataset_prompts' in case.meta:
            # A small model has the first classes of the list, but may take a prompt for every image from it.
            names = load_class_names(NAME_LISTS[case.meta['dataset_prompts']])
            count = max(case.num_classes, len(case.arrays['in/label']))
            options['class_names'] = names[:count]
        yield options


def adapter_outputs(
    adapter: SemanticBoostAdapter, whole: LoadedCLIP, images: Tensor, maps: Tensor, labels: Tensor
) -> Found:
    """Return what the SBA computes on its way, for object maps (B, h, w).

    ``whole`` is its CLIP once more, for text features that are not normalised. The engine samples the images.
    """
    views = adapter.views(images, maps)
    foreground, background = views.chunk(2)
    features = adapter.clip.image_features(views).chunk(2)
    similarities = adapter.similarities(images, maps, labels)
    # The foreground of a white image is the mask itself.
    enlarged = adapter.views(torch.ones_like(images), maps)[: len(maps), :1]
    white = images.new_ones(len(maps), 3, *maps.shape[-2:])
    tokens, text = raw_text_features(whole, prompts_of(adapter, labels))
    return {
        'object_map': adapter.views(white, maps)[: len(maps), :1],
        f'object_map_{images.shape[-1]}': enlarged,
        'fg_image': foreground,
        'bg_image': background,
        'fg_feat': features[0],
        'bg_feat': features[1],
        'fg_sim': similarities[0][:, None, None],
        'bg_sim': similarities[1][:, None, None],
        'text_tokens': tokens,
        'text_feat': text,
    }


def prompts_of(adapter: SemanticBoostAdapter, labels: Tensor) -> list[str]:
    """Return the prompt that each image of a batch is compared with."""
    indices = labels.tolist() if adapter.prompt_index == 'label' else range(len(labels))
    return [adapter.prompts[index] for index in indices]


def raw_text_features(whole: LoadedCLIP, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return tokens and text features that are not normalised, which :class:`FrozenCLIP` does not keep."""
    tokens = whole.tokenizer(list(prompts))
    with torch.no_grad():
        return tokens, whole.network.eval().encode_text(tokens)


def in_precision(clip: FrozenCLIP, dtype: torch.dtype) -> FrozenCLIP:
    """Load the weights of a CLIP, which it keeps from the modules around it, and cast them."""
    clip.load()
    clip._whole.to(dtype)
    return clip


def loaded(options: Mapping, dtype: torch.dtype) -> LoadedCLIP:
    """Return a CLIP with its text encoder."""
    whole = load_clip(options['model'], options['pretrained'])
    whole.network.to(dtype)
    return whole


@computes('cdtr', lambda case: case.meta.get('model_args', {}).get('official_class') == 'clip.model.CLIP')
def compute_clip(case: Case, dtype: torch.dtype) -> Found:
    """Tokens, features, cosines and the gradient of images.

    Raises:
        ValueError: If the model has another activation, or heads of another width.
    """
    args = case.meta['model_args']
    if args['activation'] != 'QuickGELU' or not args['vision_heads'].startswith('vision_width//64 '):
        accepted = 'QuickGELU and heads of width 64'
        raise case.error('model_args', (args['activation'], args['vision_heads']), accepted)
    with clip_options(case, args) as options:
        clip = in_precision(FrozenCLIP(**options), dtype)
        images = case.images().to(dtype).requires_grad_()
        features = clip.image_features(images)
        prompts = clip.text_features(case.meta['prompts'], images.device).to(dtype)
        cosine = F.normalize(features, dim=-1) @ prompts.T
        (gradient,) = torch.autograd.grad(cosine.sum(), images)
        tokens, text = raw_text_features(loaded(options, dtype), case.meta['prompts'])
    return {
        'tokens': equal('tokens', tokens, case.arrays['in/tokens']),
        'out/image_feat': features,
        'out/text_feat': text,
        'out/cosine': cosine,
        'out/grad_image': gradient,
    }


@computes('cdtr', lambda case: 'in/object_map' in case.arrays and 'clip' in case.meta)
def compute_adapter(case: Case, dtype: torch.dtype) -> Found:
    """The SBA on given object maps, with prompts by position and by label, and the loss weights."""
    images, labels = case.images().to(dtype), case.labels()
    found: Found = {}
    with adapter_options(case) as options:
        whole = loaded(options['clip'], dtype)
        for data in [data for data in NAME_LISTS if f'out/{data}_loss' in case.arrays]:
            clip = in_precision(FrozenCLIP(**options['clip']), dtype)  # of both: it encodes the prompts once
            for index, ending in (('batch', ''), ('label', '_labelled')):
                adapter = SemanticBoostAdapter(**options, class_names=NAME_LISTS[data], prompt_index=index)
                adapter.clip = clip
                maps = torch.from_numpy(case.arrays['in/object_map']).to(dtype).squeeze(1).requires_grad_()
                loss = adapter(images, maps, labels)
                loss.backward()
                with torch.no_grad():
                    arrays = adapter_outputs(adapter, whole, images, maps, labels)
                arrays['tokens'], arrays['loss'] = arrays.pop('text_tokens'), loss
                found |= {f'out/{data}_{name}{ending}': value for name, value in arrays.items()}
                found |= {f'out/{name}': arrays[name] for name in arrays if re.search(r'_\d+$|_image$', name)}
                found[f'grad/{data}_object_map{ending}'] = maps.grad[:, None]
    if dtype == torch.float32:
        found |= run_clamp(case)  # limits that some cosines meet exactly, in float32 alone
    return found | run_weighting(case, dtype)


def run_clamp(case: Case) -> Found:
    """Return the SBA's loss and its gradients for given cosines."""
    if 'in/clamp_fg' not in case.arrays:
        return {}
    foreground, background = (
        torch.from_numpy(case.arrays[f'in/clamp_{name}']).requires_grad_() for name in ('fg', 'bg')
    )
    loss = foreground_contrast_loss(foreground, background)
    loss.backward()
    gradients = {'grad/clamp_fg': foreground.grad, 'grad/clamp_bg': background.grad}
    return {'out/clamp_loss': loss, **gradients}


def run_weighting(case: Case, dtype: torch.dtype) -> Found:
    """Return the learned weighting's sum and its gradients for given losses and parameters."""
    if 'in/awl_losses' not in case.arrays:
        return {}
    losses = torch.from_numpy(case.arrays['in/awl_losses']).to(dtype).requires_grad_()
    weighting = AutomaticLossWeighting(len(losses)).to(dtype)
    weighting.load_state_dict({'params': torch.from_numpy(case.arrays['in/awl_params'])})
    total = sum(weighting(losses.unbind()))
    total.backward()
    return {
        'out/awl_sum': total,
        'grad/awl_params': weighting.params.grad,
        'grad/awl_losses': losses.grad,
    }


@checks('cdtr', lambda case: 'classnames' in case.meta)
def check_class_names(case: Case) -> list[Comparison]:
    """Compare a list of class names, which its length tells, and the prompt.

    Raises:
        ValueError: If no list here is as long.
    """
    names, prompt = case.meta['classnames'], case.meta['prompt']
    data = next((data for data in ('cub', 'ilsvrc') if len(load_class_names(data)) == len(names)), None)
    if data is None:
        raise case.error('classnames', f'{len(names)} names', 'those of CUB or ILSVRC')
    adapter = SemanticBoostAdapter(class_names=data)
    results = [
        equal('classnames', load_class_names(data), names),
        equal('prompt', adapter.prompt, prompt),
        equal('prompts', list(adapter.prompts), [prompt.format(name) for name in names]),
    ]
    unknown = sorted({*case.meta} - {'classnames', 'prompt'})
    return results + [failure(f'{key} (not checked)') for key in unknown]
