"""SAM as a filter: prompts and masks, with a small SAM of random weights (none of the published ones)."""

from tests.methods import METHODS
from wsol_mm.models.refinement import SAMPrompt
from wsol_mm.models.refinement.sam_prompt import prompts
from wsol_mm.registry import MODELS

import numpy as np
import pytest
import torch
from torch import Tensor, nn

package = pytest.importorskip('segment_anything', reason='needs segment-anything')

SIDE = 64


def build_small_sam(checkpoint: None = None) -> nn.Module:
    """A SAM of the classes of the package, for images of 64x64 pixels."""
    modeling = package.modeling
    return modeling.Sam(
        modeling.ImageEncoderViT(
            img_size=SIDE,
            patch_size=16,
            embed_dim=16,
            depth=1,
            num_heads=2,
            out_chans=16,
            use_rel_pos=True,
            global_attn_indexes=(0,),
        ),
        modeling.PromptEncoder(
            embed_dim=16, image_embedding_size=(4, 4), input_image_size=(SIDE, SIDE), mask_in_chans=4
        ),
        modeling.MaskDecoder(
            transformer_dim=16,
            transformer=modeling.TwoWayTransformer(depth=1, embedding_dim=16, num_heads=2, mlp_dim=16),
        ),
    ).eval()


@pytest.fixture
def checkpoint(tmp_path, monkeypatch) -> str:
    monkeypatch.setitem(package.sam_model_registry, 'small', build_small_sam)
    torch.manual_seed(0)
    torch.save(build_small_sam().state_dict(), tmp_path / 'sam_small.pth')
    return str(tmp_path / 'sam_small.pth')


class Recorder:
    """Stands for SAM: keeps what it is asked, and answers with the box."""

    mask_threshold = 0.0
    img_size = 100

    def __init__(self) -> None:
        self.images: list[Tensor] = []
        self.image_encoder = self.prompt_encoder = self

    def to(self, device: torch.device) -> 'Recorder':
        return self

    def preprocess(self, images: Tensor) -> Tensor:
        return images

    def get_dense_pe(self) -> None:
        return None

    def __call__(self, images=None, points=None, boxes=None, masks=None):
        """Be the encoder of images, and that of prompts."""
        if images is not None:
            self.images.append(images)
            return images
        self.points, self.boxes = points, boxes
        return len(boxes if boxes is not None else points[0]), None

    def mask_decoder(self, sparse_prompt_embeddings, multimask_output, **_):
        assert multimask_output is False
        logits = -torch.ones(sparse_prompt_embeddings, 1, 25, 25)
        for i, (x0, y0, x1, y1) in enumerate(self.boxes.div(4).round().int().tolist()):
            logits[i, :, y0:y1, x0:x1] = 1
        return logits, None


def test_the_box_at_half_of_the_range_and_the_peak() -> None:
    score = np.full((10, 20), 0.2, np.float32)
    score[2:5, 4:9] = 0.7  # above the half of 0.2 to 1
    score[7, 15] = 1.0
    box, peak = prompts(score)
    assert box.tolist() == [4, 2, 9, 5] and peak.tolist() == [15, 7]


def test_prompts_and_masks_are_in_the_right_places(checkpoint) -> None:
    recorder = Recorder()
    sam = SAMPrompt(checkpoint, 'small', prompt='both')
    sam._hidden = (recorder,)
    maps = torch.zeros(2, 2, 50, 50)
    maps[0, 0, 10:30, 20:40], maps[0, 1, 5:10, 5:10] = 0.8, 0.4
    maps[0, 1, 7, 8] = 0.5
    pixels = torch.zeros(2, 3, 200, 200)
    pixels[:, :, :, 100:] = 255
    found = sam(maps, pixels)
    # One image has maps with contrast: it is shown as SAM takes it, 100x100.
    (image,) = recorder.images
    assert image.shape == (1, 3, 100, 100)
    assert image[..., :49].amax() == 0 and image[..., 51:].amin() == 255
    assert recorder.boxes.tolist() == [[40, 20, 79, 59], [10, 10, 19, 19]]
    coordinates, labels = recorder.points
    # The centre of pixel 20 of 50 lies at that of 40.5 of 100; the first of equal values counts.
    assert coordinates.tolist() == [[[40.5, 20.5]], [[16.5, 14.5]]] and labels.tolist() == [[1], [1]]
    inside = torch.zeros(50, 50, dtype=torch.bool)
    inside[10:30, 20:40] = True
    torch.testing.assert_close(found[0, 0][inside], torch.full((400,), 0.9))
    assert found[0, 0][~inside].sum() < 0.05 * found[0, 0].sum()
    assert torch.equal(found[1], maps[1])  # without contrast


@pytest.mark.parametrize(('prompt', 'given'), [('box', (False, True)), ('point', (True, False))])
def test_what_sam_is_asked_with(checkpoint, prompt, given) -> None:
    recorder = Recorder()
    recorder.mask_decoder = lambda **_: (torch.ones(1, 1, 25, 25), None)
    sam = SAMPrompt(checkpoint, 'small', prompt=prompt)
    sam._hidden = (recorder,)
    maps = torch.eye(8)[None, None]
    torch.testing.assert_close(sam(maps, torch.zeros(1, 3, 8, 8)), (maps + 1) / 2)
    assert (recorder.points is not None, recorder.boxes is not None) == given


@pytest.mark.parametrize('prompt', ['box', 'point', 'both'])
def test_a_small_sam_of_random_weights_makes_masks(checkpoint, prompt) -> None:
    sam = SAMPrompt(checkpoint, 'small', prompt=prompt)
    torch.manual_seed(1)
    maps, pixels = torch.rand(2, 3, 24, 24), torch.rand(2, 3, 40, 40) * 255
    maps[1, 1, 3, 3] = torch.nan
    found = sam(maps, pixels)
    finite = found[maps.isfinite()]
    assert found.shape == maps.shape and finite.amin() >= 0 and finite.amax() <= 1
    masks = 2 * found - maps
    assert set(masks[0].round(decimals=3).unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(found[1, 1], maps[1, 1], equal_nan=True)
    # The images of a batch do not mix, nor the maps of an image.
    torch.testing.assert_close(sam(maps[:1, :1], pixels[:1]), found[:1, :1], rtol=1e-4, atol=1e-4)


def test_the_package_predicts_the_same_mask(checkpoint) -> None:
    sam = SAMPrompt(checkpoint, 'small')
    maps = torch.zeros(1, 1, SIDE, SIDE)
    maps[0, 0, 10:40, 20:50] = 1
    pixels = torch.randint(0, 256, (1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)).float()
    predictor = package.SamPredictor(sam._hidden[0])
    predictor.set_image(pixels[0].byte().permute(1, 2, 0).numpy())
    masks, _, _ = predictor.predict(box=np.array([20, 10, 49, 39]), multimask_output=False)
    found = 2 * sam(maps, pixels)[0, 0] - maps[0, 0]
    assert (found.round().bool().numpy() != masks[0]).mean() < 0.02
    assert 0 < masks[0].mean() < 1


def test_it_is_no_part_of_the_localizer(checkpoint) -> None:
    filters = [dict(type='SAMPrompt', checkpoint=checkpoint, model_type='small')]
    plain = MODELS.build(METHODS['sat'].model_config())
    model = MODELS.build(METHODS['sat'].model_config(refinement=dict(filters=filters, map_size=32))).eval()
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert 'SAM (sam_small.pth, prompt: box)' in str(model.refinement)
    (sample,) = model.predict(torch.rand(1, 3, 32, 32))
    assert sample.loc_maps.shape == (1, 32, 32) and sample.loc_maps.isfinite().all()


def test_problems(checkpoint, tmp_path, monkeypatch) -> None:
    with pytest.raises(ValueError, match=r"prompt: expected one of \('box', 'point', 'both'\), got 'text'"):
        SAMPrompt(checkpoint, 'small', prompt='text')
    with pytest.raises(FileNotFoundError, match=r'such as sam_vit_b_01ec64\.pth of .*, got no file at none'):
        SAMPrompt('none')
    with pytest.raises(ValueError, match=r'image encoder is \[768, 1024, 1280\] wide, got a width of 16'):
        SAMPrompt(checkpoint)
    with pytest.raises(ValueError, match=r"model_type: expected one of \['default', .*, got 'huge'"):
        SAMPrompt(checkpoint, 'huge')
    other = str(tmp_path / 'other.pth')
    torch.save({'a': torch.zeros(2)}, other)
    with pytest.raises(ValueError, match=r'wide, got none named image_encoder'):
        SAMPrompt(other)
    with pytest.raises(ValueError, match=r'other\.pth: expected the weights of SAM small, got Missing key'):
        SAMPrompt(other, 'small')
    monkeypatch.setitem(__import__('sys').modules, 'segment_anything', None)
    with pytest.raises(ImportError, match='SAMPrompt: expected the package segment_anything, got none. pip'):
        SAMPrompt(checkpoint, 'small')
