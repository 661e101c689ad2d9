"""The inferencer: where its boxes lie, whose they are, what it accepts and draws."""

import wsol_mm  # noqa: F401
from tests.methods import METHODS, Size
from wsol_mm.apis import LocalizationInferencer, list_model_names
from wsol_mm.evaluation.functional import ImageGeometry
from wsol_mm.evaluation.map_boxes import predict_boxes
from wsol_mm.models.clip import FrozenCLIP

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from torch.nn import functional as F

from .conftest import CLASSES, save_weights

#: Corners of the bright part of an image of 120x90 pixels.
OBJECT = (60, 18, 105, 72)


def picture(box=OBJECT, size=(120, 90)):
    image = np.full((size[1], size[0], 3), 40, np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 230
    return image


@pytest.fixture
def inferencer(small_model):
    return LocalizationInferencer(*small_model, device='cpu')


@pytest.fixture
def brightness(monkeypatch):
    """Let a model's map of class c be the brightness of the image, darker by class."""

    def change(inferencer):
        model = inferencer.model
        extract = model.extract_feat

        def localization_maps(feats, labels):
            maps = F.avg_pool2d(feats.extras['images'].mean(dim=1, keepdim=True), 4)
            return maps * (1.0 + labels[:, :, None, None])

        monkeypatch.setattr(
            model, 'extract_feat', lambda inputs, *args: extract(inputs, *args).with_extras(images=inputs)
        )
        monkeypatch.setattr(model.head, 'localization_maps', localization_maps)
        return inferencer

    return change


def test_box_lies_on_the_object_in_pixels_of_the_image(inferencer, brightness):
    (result,) = brightness(inferencer)(picture(), progress=False)
    assert result.size == (120, 90) and result.path is None
    # A patch is 120 / 8 = 15 pixels wide and 90 / 8 high.
    np.testing.assert_allclose(result.boxes, [OBJECT], atol=7)
    assert result.found.tolist() == [True]
    assert result.labels == [result.pred_topk[0]] == [int(result.pred_scores.argmax())]
    assert result.classes == [CLASSES[result.labels[0]]]
    assert result.scores == [result.pred_scores.max()] and result.pred_scores.sum() == pytest.approx(1)


def test_test_pipeline_sees_the_centre_alone(small_model, brightness):
    at_the_edge = (0, 18, 45, 72)
    centre = brightness(LocalizationInferencer(*small_model, device='cpu', whole_image=False))
    (cut,) = centre(picture(at_the_edge), progress=False)
    # 4 of 40 pixels are cut off at every side.
    np.testing.assert_allclose(cut.boxes, [(12, 18, 45, 72)], atol=7)
    assert cut.boxes[0, 0] == pytest.approx(12)
    whole = brightness(LocalizationInferencer(*small_model, device='cpu'))
    np.testing.assert_allclose(whole(picture(at_the_edge), progress=False)[0].boxes, [at_the_edge], atol=7)


def test_boxes_are_those_of_the_evaluation(inferencer):
    """The map, the geometry and the protocol go through the one function that makes boxes."""
    image = picture()
    (result,) = inferencer(image, topk=2, maps='grid', progress=False)
    (sample,) = inferencer(image, topk=2, return_datasamples=True, progress=False)
    assert sample.loc_labels.tolist() == result.labels
    for map_, box, kept in zip(sample.loc_maps.numpy(), result.boxes, result.maps, strict=True):
        geometry = ImageGeometry((120, 90), (32, 32), (32, 32))
        np.testing.assert_array_equal(predict_boxes(map_, geometry, inferencer.protocol)[0], box)
        np.testing.assert_array_equal(map_, kept)


def test_labels_choose_the_class(inferencer):
    images = [picture()] * 3
    best = inferencer(images, topk=3, maps='grid', progress=False)
    given = inferencer(images, labels=[0, 'bright', 'grey'], maps='grid', batch_size=2, progress=False)
    for result, every, label in zip(given, best, [0, 2, 1], strict=True):
        place = every.labels.index(label)
        assert result.labels == [label] and result.classes == [CLASSES[label]]
        assert result.scores == [pytest.approx(every.scores[place], abs=1e-6)]
        np.testing.assert_allclose(result.maps[0], every.maps[place], rtol=1e-4, atol=1e-5)
    assert inferencer.model.head.map_topk == 5, 'the setting of the config is left as it was'


def test_maps_on_the_image(inferencer, brightness):
    (result,) = brightness(inferencer)(picture(), maps='image', progress=False)
    assert result.maps.shape == (1, 90, 120)
    assert (result.maps.min(), result.maps.max()) == (0, 1)
    assert result.maps[0, 45, 80] > 0.9 and result.maps[0, 45, 20] < 0.1


def test_image_without_contrast_is_not_found(inferencer, brightness):
    (result,) = brightness(inferencer)(np.full((20, 20, 3), 127, np.uint8), progress=False)
    assert result.found.tolist() == [False] and result.boxes.shape == (1, 4)


@pytest.fixture
def photos(tmp_path):
    for number, path in enumerate(['a/1.png', 'a/2.png', 'b/1.png', 'notes.txt']):
        file = tmp_path / 'photos' / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == '.png':
            cv2.imwrite(str(file), picture((10 * number, 20, 10 * number + 40, 60)))
        else:
            file.write_text('no image')
    return tmp_path / 'photos'


def test_folders_paths_and_arrays_mix(inferencer, photos):
    inputs = [photos, photos / 'b' / '1.png', str(photos / 'a' / '1.png'), picture()]
    results = inferencer(inputs, batch_size=4)
    paths = [str(photos / path) for path in ('a/1.png', 'a/2.png', 'b/1.png', 'b/1.png', 'a/1.png')]
    assert [result.path for result in results] == [*paths, None]
    np.testing.assert_allclose(results[2].boxes, results[3].boxes, atol=1e-4)
    single = inferencer(str(photos / 'a' / '2.png'), progress=False)
    np.testing.assert_allclose(results[1].pred_scores, single[0].pred_scores, atol=1e-6)


def test_pictures(inferencer, photos, tmp_path):
    inferencer(photos, out_dir=tmp_path / 'drawn', progress=False)
    drawn = sorted(
        path.relative_to(tmp_path / 'drawn').as_posix() for path in tmp_path.rglob('drawn/**/*.png')
    )
    assert drawn == ['a/1.png', 'a/2.png', 'b/1.png']
    # captions stand below the picture
    assert cv2.imread(str(tmp_path / 'drawn' / drawn[0])).shape == (129, 167, 3)
    inferencer([picture(), picture(), photos / 'a' / '1.png'], out_dir=tmp_path / 'mixed', progress=False)
    names = sorted(path.name for path in (tmp_path / 'mixed').iterdir())
    assert names == ['0_array.png', '1_array.png', '2_1.png']


def test_pictures_show_all_boxes_of_the_first_class(inferencer, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        'wsol_mm.visualization.LocalizationVisualizer.draw_bboxes',
        lambda self, boxes, edge_colors, **_: drawn.append(boxes.numpy()),
    )
    (result,) = inferencer(picture(), topk=2, boxes='many', out_dir=tmp_path, progress=False)
    np.testing.assert_allclose(drawn, [result.boxes[np.equal(result.labels, result.labels[0])]], rtol=1e-6)
    inferencer(np.zeros((40, 40, 3), np.uint8), out_dir=tmp_path, progress=False)
    assert [len(boxes) for boxes in drawn[1:]] in ([1], [])  # a map without a box has none


def test_pictures_in_a_window(inferencer, monkeypatch):
    shown = []
    monkeypatch.setattr(
        'mmengine.visualization.Visualizer.show',
        lambda self, image, win_name, wait_time: shown.append((image.shape, win_name, wait_time)),
    )
    inferencer(picture(), show=True, wait_time=0.5, progress=False)
    assert shown == [((129, 167, 3), 'array', 0.5)]


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('crop', ['CenterCrop', 'TenCrop'])
def test_every_method_with_one_crop_and_with_ten(small_model, tmp_path, monkeypatch, method, crop):
    monkeypatch.setattr(FrozenCLIP, 'load', lambda self: pytest.fail('inference does not need CLIP'))
    cfg = Config.fromfile(small_model.config)
    method = METHODS[method]
    size = Size(layers=2, width=16, num_classes=3, patch=4)
    for part in ('backbone', 'head'):
        del cfg.model[part]  # a config would be merged
    cfg.model.update(method.model_config(size, pretrained=cfg.model.pretrained))
    cfg.test_dataloader.dataset.pipeline[2].type = crop
    save_weights(cfg, tmp_path / 'weights.pth')
    for whole_image in (True, False):
        localize = LocalizationInferencer(cfg, tmp_path / 'weights.pth', 'cpu', whole_image=whole_image)
        predicted = localize([picture()] * 2, topk=2, progress=False)
        given = localize([picture()] * 2, labels=['dark', 'bright'], maps='grid', progress=False)
        assert all(len(result.labels) == len(result.boxes) == 2 for result in predicted)
        assert [result.labels for result in given] == [[0], [2]]
        assert all(result.maps.shape == (1, 8, 8) for result in given)
        for result in (*predicted, *given):
            assert (result.boxes >= 0).all() and (result.boxes <= [120, 90, 120, 90]).all()
        if localize.model.head.class_agnostic:  # one map for all classes
            np.testing.assert_array_equal(predicted[0].boxes[0], predicted[0].boxes[1])


@pytest.mark.parametrize('method', METHODS)
def test_images_that_show_nothing_rank_last(small_model, tmp_path, method):
    cfg = Config.fromfile(small_model.config)
    for part in ('backbone', 'head'):
        del cfg.model[part]
    size = Size(layers=2, width=16, num_classes=3, patch=16, img_size=112)
    cfg.model.update(METHODS[method].model_config(size, pretrained=cfg.model.pretrained))
    cfg.test_dataloader.dataset.pipeline[1].scale = cfg.test_dataloader.dataset.pipeline[2].crop_size = 112
    cfg.default_hooks.visualization.protocol.thresholds = [0.2]
    save_weights(cfg, tmp_path / 'weights.pth')
    localize = LocalizationInferencer(cfg, tmp_path / 'weights.pth', 'cpu')
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    something, *nothing = localize(
        [picture(), np.full((90, 120, 3), 127, np.uint8), noise], topk=2, boxes='many', progress=False
    )
    assert min(something.confidences) > 0 or not something.found.all()
    assert all(set(result.confidences) == {0} and len(result.boxes) for result in nothing)


def test_model_names(small_model, tmp_path):
    assert 'sat_deit-s_cub' in list_model_names()
    assert LocalizationInferencer.list_models('cdtr_deit-s_cub')[0] == 'cdtr_deit-s_cub'
    with pytest.raises(ValueError, match='checkpoint: expected a file .* of ImageLocalizer, got none'):
        LocalizationInferencer('sat_deit-t_cub')
    with pytest.raises(ValueError, match="model: expected .* sat_deit-s_cub.*, got 'sat'"):
        LocalizationInferencer('sat', small_model.checkpoint)
    with pytest.raises(
        ValueError, match='expected the weights of the model of the config, got .*official_to_wsol_mm'
    ):
        LocalizationInferencer('ts-cam_deit-t_cub', small_model.checkpoint)


def test_threshold_is_the_protocols_or_given(small_model, monkeypatch):
    lines = []
    monkeypatch.setattr(
        'wsol_mm.apis.localization_inferencer.print_log', lambda text, logger: lines.append(text)
    )
    localize = LocalizationInferencer(*small_model, device='cpu')
    assert localize.description() == 'whole images, protocol ts_cam, threshold 0.5'
    assert lines == ['Boxes: whole images, protocol ts_cam, threshold 0.5']
    given = LocalizationInferencer(*small_model, device='cpu', protocol='maxboxacc', threshold=0.25)
    assert given.protocol.thresholds == (0.25,) and given.protocol.interpolation == 'bicubic'
    with pytest.raises(ValueError, match="threshold: expected a number .* for protocol 'maxboxacc'"):
        LocalizationInferencer(*small_model, protocol='maxboxacc')


def test_class_names(small_model, tmp_path):
    nameless = tmp_path / 'nameless.pth'
    save_weights(Config.fromfile(small_model.config), nameless, None)
    assert LocalizationInferencer(small_model.config, nameless).classes == ('class 0', 'class 1', 'class 2')
    (tmp_path / 'names.txt').write_text('one\ntwo\nthree\n')
    named = LocalizationInferencer(small_model.config, nameless, classes=tmp_path / 'names.txt')
    assert named.classes == ('one', 'two', 'three')
    with pytest.raises(ValueError, match='classes: expected a name for each of the 3 classes .*, got 2'):
        LocalizationInferencer(*small_model, classes=['one', 'two'])


def test_settings_can_be_changed(small_model, tmp_path):
    cfg = Config.fromfile(small_model.config)
    cfg.model.head.num_classes = 4
    save_weights(cfg, tmp_path / 'four.pth', None)
    localize = LocalizationInferencer(
        small_model.config, tmp_path / 'four.pth', cfg_options={'model.head.num_classes': 4}
    )
    assert len(localize.classes) == 4
    with pytest.raises(ValueError, match='It has 4 classes, the config has 3: model.head.num_classes=4'):
        LocalizationInferencer(small_model.config, tmp_path / 'four.pth')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(topk=0), 'topk: expected an integer from 1 to 3, got 0'),
        (dict(topk=4), 'topk: expected an integer from 1 to 3, got 4'),
        (dict(batch_size=0), 'batch_size: expected an integer from 1, got 0'),
        (dict(maps='full'), "maps: expected None, 'grid' or 'image', got 'full'"),
        (dict(labels=[0, 1]), r'labels: expected one for every image \(1\), got 2'),
        (dict(labels='light'), r"labels: expected classes .* 'dark', 'grey', 'bright', .*, got \['light'\]"),
        (dict(labels=[3]), r'labels: expected classes of the model, 0 to 2 .*got \[3\]'),
    ],
)
def test_wrong_arguments(inferencer, options, message):
    with pytest.raises(ValueError, match=message):
        inferencer(picture(), **options, progress=False)


@pytest.mark.parametrize('image', [Image.new('RGB', (9, 9)), torch.zeros(3, 9, 9), [None], 3])
def test_inputs_of_other_types(inferencer, image):
    with pytest.raises(ValueError, match='inputs: expected paths, or BGR arrays .* of uint8, got a '):
        inferencer(image)


def test_a_label_of_numpy(inferencer):
    image = picture()
    assert inferencer(image, labels=np.int64(1))[0].labels == inferencer(image, labels=1)[0].labels == [1]


def test_wrong_inputs(inferencer, tmp_path):
    with pytest.raises(FileNotFoundError, match='missing.jpg: expected an image file or a folder'):
        inferencer(tmp_path / 'missing.jpg')
    with pytest.raises(ValueError, match='expected a folder with images'):
        inferencer(tmp_path)
    (tmp_path / 'torn.jpg').write_bytes(b'\xff\xd8')
    with pytest.raises(
        ValueError, match='torn.jpg: expected a usable image, got an unusable one: UnidentifiedImageError'
    ):
        inferencer(tmp_path, progress=False)
    with pytest.raises(FileNotFoundError, match='model: expected a config file, got nothing at'):
        LocalizationInferencer(tmp_path / 'no.py', 'weights.pth')


@pytest.mark.parametrize('device', ['gpu', 'meta', 'cuda:99'])
def test_device_that_is_not_there(small_model, device):
    with pytest.raises(ValueError, match=f"device: expected cpu .*, got '{device}': "):
        LocalizationInferencer(*small_model, device=device)


@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_what_is_no_number_is_said(inferencer, monkeypatch, value):
    said = []
    monkeypatch.setattr('wsol_mm.apis.localization_inferencer.print_log', lambda text, **_: said.append(text))
    maps = inferencer.model.head.localization_maps

    def spoilt_for_the_second(feats, labels):
        spoilt = maps(feats, labels)
        spoilt[1] = value
        return spoilt

    monkeypatch.setattr(inferencer.model.head, 'localization_maps', spoilt_for_the_second)
    good, bad = inferencer([picture(), picture()], batch_size=2, progress=False)
    assert good.finite and not bad.finite
    assert said == ['1 of 2 images: expected finite scores and maps of the model, got NaN or infinity']


def test_results_do_not_depend_on_the_batch(inferencer):
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 255, (40, 50, 3), np.uint8) for _ in range(5)]
    together = inferencer(images, batch_size=5, progress=False)
    alone = inferencer(images, batch_size=1, progress=False)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.pred_scores, other.pred_scores)
