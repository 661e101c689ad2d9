"""A model behind HTTP: the same boxes as without it, batches of what comes at once, and clear refusals."""

import asyncio
import re
import threading
import time
from io import BytesIO
from pathlib import Path

from benchmarks.wrong_requests import image_file, wrong_requests
from tests.test_apis.conftest import small_model  # noqa: F401
from wsol_mm.apis import LocalizationInferencer
from wsol_mm.visualization.localization_visualizer import PREDICTION_COLOR
from wsol_mm.web.serving.batching import BusyError, RequestBatcher
from wsol_mm.web.serving.session import ServingTask, serve_model

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from .browser import chromium, ready, served

TestClient = pytest.importorskip('fastapi.testclient').TestClient
pytest.importorskip('python_multipart')
serving_app = pytest.importorskip('wsol_mm.web.serving.serving_app').serving_app
service_module = pytest.importorskip('wsol_mm.web.serving.localization_service')

LIMITS = service_module.ServiceLimits(max_bytes=100_000, max_pixels=250_000)


@pytest.fixture(scope='module')
def inferencer(small_model):  # noqa: F811
    return LocalizationInferencer(str(small_model.config), small_model.checkpoint, device='cpu')


@pytest.fixture
def service(inferencer):
    return service_module.LocalizationService(inferencer, LIMITS)


@pytest.fixture
def web(service):
    with TestClient(serving_app(service, 'small', batch_size=4), base_url='http://localhost') as client:
        yield client


def test_a_model_with_sharper_maps_is_served(small_model, monkeypatch):  # noqa: F811
    served = []
    monkeypatch.setattr('wsol_mm.web.serving.session.run_app', lambda app, *_: served.append(app))
    services = []
    monkeypatch.setattr(
        service_module.LocalizationService,
        '__init__',
        lambda self, inferencer, limits: services.append(inferencer),
    )
    monkeypatch.setattr('wsol_mm.web.serving.serving_app.serving_app', lambda *_: None)
    serve_model(
        Config.fromfile(small_model.config), ServingTask(small_model.checkpoint, refine=['32', '64', 'flip'])
    )
    assert len(served) == 1 and str(services[0].model.refinement) == 'views of 32, 64 pixels, mirrored too'


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """Noise with a bright square, one of them lying on its side."""
    folder = tmp_path_factory.mktemp('photos')
    rng = np.random.default_rng(0)
    files = []
    for number in range(6):
        pixels = rng.integers(0, 100, (60, 90, 3), np.uint8)
        pixels[20:40, 10 * number : 10 * number + 30] = 250
        image, exif = Image.fromarray(pixels), Image.Exif()
        exif[0x0112] = 6 if number == 5 else 1
        image.save(folder / f'{number}.jpg', exif=exif, quality=95)
        files.append(folder / f'{number}.jpg')
    return files


def expected(inferencer, file, topk=1):
    (result,) = inferencer(str(file), topk=topk, progress=False)
    return service_module.result_as_json(result, 0)


def test_the_boxes_are_those_of_the_inferencer(web, inferencer, photos):
    for file in photos:
        found = web.post('/predict', params=dict(topk=2), content=file.read_bytes())
        assert found.json() == expected(inferencer, file, topk=2) and len(found.json()['boxes']) <= 2
    assert web.post('/predict', content=photos[5].read_bytes()).json()['width'] == 60  # as it is shown
    sent = web.post('/predict', files=dict(file=photos[0].read_bytes()), data=dict(topk='2'))
    assert sent.json() == expected(inferencer, photos[0], topk=2)
    high = web.post('/predict', params=dict(score_thr=1), content=photos[0].read_bytes()).json()
    assert high == dict(width=90, height=60, boxes=[])


def test_what_comes_at_once_is_one_batch_with_the_same_answers(service, inferencer, photos):
    """The answers do not depend on what else is in the batch, nor on what others ask for."""
    app = serving_app(service, 'small', batch_size=4, max_wait=0.5)
    answers = {}
    with TestClient(app, base_url='http://localhost') as client:

        def ask(number):
            params = dict(topk=1 + number % 2)
            answers[number] = client.post(
                '/predict', params=params, content=photos[number].read_bytes()
            ).json()

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counted = client.get('/metrics').text
    assert 'wsol_mm_batches_total 1\n' in counted and 'wsol_mm_images_total 4\n' in counted
    for number, answer in answers.items():
        wanted = expected(inferencer, photos[number], topk=1 + number % 2)
        assert [box['label'] for box in answer['boxes']] == [box['label'] for box in wanted['boxes']]
        for box, other in zip(answer['boxes'], wanted['boxes'], strict=True):
            assert box['box'] == other['box'] and box['score'] == pytest.approx(other['score'], abs=2e-6)


def test_pictures(web, photos):
    answer = web.post('/predict', params=dict(output='picture'), content=photos[0].read_bytes())
    assert answer.headers['content-type'] == 'image/png'
    picture = Image.open(BytesIO(answer.content))
    assert picture.width >= 90 and picture.height > 60


def test_a_picture_shows_the_boxes_that_are_asked_for(service, photos):
    question = service.question(photos[0].read_bytes(), 2)
    (answer,) = service.answers([question])
    confidence = answer.result.confidences[0]
    colours = []
    for least in (0.0, confidence, min(1.0, confidence + 0.01)):
        picture = np.array(Image.open(BytesIO(service.picture(question, answer, min_confidence=least))))
        colours.append((picture[:60] == PREDICTION_COLOR).all(axis=-1).any())
    assert colours == [True, True, False]


def test_health_classes_and_page(web):
    assert web.get('/health').json() == dict(status='ok', model='small', waiting=0)
    assert web.get('/classes').json() == ['dark', 'grey', 'bright']
    for name in ('/', '/serve.js', '/serve.css'):
        text = web.get(name).text
        assert not re.search(r'https?://(?!www\.w3\.org/2000/svg)', text)


@pytest.mark.slow
def test_the_page_in_a_browser(service, inferencer, photos, tmp_path):
    """An image is chosen, its boxes are shown; what is no image is refused in words."""
    text = tmp_path / 'text.jpg'
    text.write_text('no image')
    with served(serving_app(service, 'small')) as address, chromium() as browser:
        page = browser.new_page()
        errors = []
        page.on('pageerror', lambda error: errors.append(str(error)))
        ready(page, address)
        page.set_input_files('#file', photos[0])
        page.wait_for_selector('#boxes:visible')
        (wanted,) = expected(inferencer, photos[0])['boxes']
        assert page.inner_text('#boxes tbody td:first-child') == wanted['class']
        assert page.locator('#overlay rect:not(.halo)').get_attribute('x') == f'{wanted["box"][0]:g}'
        page.check('#map')
        page.wait_for_selector('#drop:not(.busy)')
        page.set_input_files('#file', text)
        page.wait_for_selector('#error:visible')
        assert 'image: expected the content of an image file' in page.inner_text('#error')
        assert not errors


@pytest.mark.parametrize(
    'wrong', wrong_requests(LIMITS.max_bytes, LIMITS.max_pixels), ids=lambda wrong: wrong.name
)
def test_wrong_requests(wrong_client, wrong):
    answer = wrong_client.request(wrong.method, wrong.path, content=wrong.body, headers=wrong.headers)
    assert answer.status_code == wrong.status
    assert wrong.answer in answer.json()['error'] and len(answer.json()['error']) < 400


@pytest.fixture(scope='module')
def wrong_client(inferencer):
    service = service_module.LocalizationService(inferencer, LIMITS)
    with TestClient(serving_app(service, 'small'), base_url='http://localhost') as client:
        yield client


def test_there_are_forty_wrong_requests():
    assert len(wrong_requests(LIMITS.max_bytes, LIMITS.max_pixels)) == 40


def test_metrics_count_what_was_refused(web):
    web.post('/predict', content=b'text')
    web.post('/predict', content=image_file())
    text = web.get('/metrics').text
    assert 'wsol_mm_requests_total{status="200"} 1\n' in text
    assert 'wsol_mm_requests_total{status="415"} 1\n' in text
    assert 'wsol_mm_request_seconds_bucket{le="+Inf"} 2\n' in text and 'wsol_mm_waiting 0\n' in text


def test_a_model_that_fails_says_so_and_goes_on(service, monkeypatch):
    app = serving_app(service, 'small')
    with TestClient(app, base_url='http://localhost', raise_server_exceptions=False) as client:
        answers = service.answers
        monkeypatch.setattr(service, 'answers', lambda questions: 1 / 0)
        failed = client.post('/predict', content=image_file())
        assert failed.status_code == 500
        monkeypatch.setattr(service, 'answers', answers)
        assert client.post('/predict', content=image_file()).status_code == 200
        assert 'wsol_mm_requests_total{status="500"} 1\n' in client.get('/metrics').text


def test_the_token(service):
    app = serving_app(service, 'small', token='long-enough-a-token')
    with TestClient(app, base_url='http://photos.example') as client:
        assert client.get('/health').status_code == 200
        assert client.post('/predict', content=image_file()).status_code == 401
        bearer = dict(authorization='Bearer long-enough-a-token')
        assert client.post('/predict', content=image_file(), headers=bearer).status_code == 200
        assert client.post('/predict?token=long-enough-a-token', content=image_file()).status_code == 200


# ---------------------------------------------------------------- the batcher alone


def run_batcher(work, items, **options):
    async def run():
        batcher = RequestBatcher(work, **dict(dict(batch_size=3, max_wait=0.05, max_queue=100), **options))
        await batcher.start()
        try:
            return await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)
        finally:
            await batcher.stop()

    return asyncio.run(run())


def test_batches():
    sizes = []

    def work(items):
        sizes.append(len(items))
        return [item * 2 for item in items]

    assert run_batcher(work, range(7)) == [0, 2, 4, 6, 8, 10, 12] and sizes == [3, 3, 1]


def test_a_full_queue_refuses():
    results = run_batcher(lambda items: items, range(5), max_queue=3)
    assert results[:3] == [0, 1, 2]
    assert [str(error) for error in results[3:]] == ['expected at most 3 waiting requests, got one more'] * 2
    assert all(isinstance(error, BusyError) for error in results[3:])


def test_an_error_is_that_of_its_batch():
    def work(items):
        if 1 in items:
            raise RuntimeError('out of memory')
        return items

    results = run_batcher(work, range(4), batch_size=2)
    assert [str(result) for result in results] == ['out of memory', 'out of memory', '2', '3']


def test_who_gave_up_is_not_worked_for(service, monkeypatch):
    seen = []
    answers = service.answers

    def slow(questions):
        seen.append(len(questions))
        time.sleep(0.3)
        return answers(questions)

    monkeypatch.setattr(service, 'answers', slow)
    service.limits = service_module.ServiceLimits(timeout=0.1)
    with TestClient(serving_app(service, 'small'), base_url='http://localhost') as client:
        answer = client.post('/predict', content=image_file())
    assert answer.status_code == 504 and 'expected an answer within 0.1 s' in answer.json()['error']


@pytest.fixture
def label_studio(service, photos):
    app = serving_app(service, 'small', batch_size=4, max_queue=40, label_studio=photos[0].parent)
    with TestClient(app, base_url='http://localhost') as client:
        yield client


def task(address, number=1):
    return dict(id=number, data=dict(image=address))


def test_label_studio_gets_the_boxes_of_its_tasks(label_studio, inferencer, photos):
    assert label_studio.get('/label-studio/health').json()['status'] == 'UP'
    interface = """<View><Image name="image" value="$image"/>
        <RectangleLabels name="label" toName="image"><Label value="dark"/></RectangleLabels></View>"""
    set_up = label_studio.post('/label-studio/setup', json=dict(project='1.2', schema=interface))
    assert set_up.json() == dict(model_version='small')
    tasks = [task(f'/data/local-files/?d={file.name}') for file in photos] * 20  # more than may wait
    answer = label_studio.post('/label-studio/predict', json=dict(tasks=tasks, label_config=interface)).json()
    assert answer['model_version'] == 'small' and len(answer['results']) == 120
    for file, result in zip(photos, answer['results'], strict=False):
        wanted = expected(inferencer, file)
        (box,) = wanted['boxes']
        (region,) = result['result']
        width, height = wanted['width'], wanted['height']
        assert (region['original_width'], region['original_height']) == (width, height)
        assert (region['from_name'], region['to_name']) == ('label', 'image')
        value = region['value']
        assert value['rectanglelabels'] == [box['class']]
        x0, y0 = value['x'] * width / 100, value['y'] * height / 100
        corners = [x0, y0, x0 + value['width'] * width / 100, y0 + value['height'] * height / 100]
        assert corners == pytest.approx(box['box'], abs=0.01)
        assert result['score'] == pytest.approx(box['confidence'], abs=2e-6)


def test_more_tasks_than_may_wait_are_answered(service, photos):
    app = serving_app(service, 'small', batch_size=2, max_queue=3, label_studio=photos[0].parent)
    with TestClient(app, base_url='http://localhost') as client:
        tasks = [task(f'/data/local-files/?d={file.name}') for file in photos] * 3
        answer = client.post('/label-studio/predict', json=dict(tasks=tasks)).json()
    assert [len(result['result']) for result in answer['results']] == [1] * 18


def test_a_busy_server_is_an_error_and_no_empty_prediction(service, photos, monkeypatch):
    async def submit(self, item):
        raise BusyError('expected at most 3 waiting requests, got one more')

    monkeypatch.setattr(RequestBatcher, 'submit', submit)
    app = serving_app(service, 'small', label_studio=photos[0].parent)
    with TestClient(app, base_url='http://localhost') as client:
        tasks = [task(f'/data/local-files/?d={file.name}') for file in photos]
        answer = client.post('/label-studio/predict', json=dict(tasks=tasks))
    assert answer.status_code == 503 and answer.headers['retry-after'] == '1'
    assert answer.json()['error'] == 'server: expected at most 3 waiting requests, got one more'


def test_an_image_that_cannot_be_read_does_not_lose_the_others(label_studio, photos, monkeypatch):
    read = Path.read_bytes

    def read_bytes(path):
        if path.name == '1.jpg':
            raise PermissionError(13, 'Permission denied')
        return read(path)

    monkeypatch.setattr(Path, 'read_bytes', read_bytes)
    tasks = [task(f'/data/local-files/?d={file.name}') for file in photos[:3]]
    results = label_studio.post('/label-studio/predict', json=dict(tasks=tasks)).json()['results']
    assert [len(result['result']) for result in results] == [1, 0, 1]
    assert results[1]['error'] == (
        "data.image: expected a file that can be read, got '1.jpg': Permission denied"
    )


def test_what_label_studio_may_not_have(label_studio, photos):
    (photos[0].parent / 'text.jpg').write_text('no image')
    addresses = [
        '/data/local-files/?d=0.jpg',
        '/data/local-files/?d=text.jpg',
        '/data/local-files/?d=none.jpg',
        '/data/local-files/?d=..%2F..%2Fetc%2Fpasswd',
        'http://elsewhere/0.jpg',
        '/data/upload/1/0.jpg',
        7,
    ]
    tasks = [task(address) for address in addresses]
    results = label_studio.post('/label-studio/predict', json=dict(tasks=[*tasks, 3])).json()['results']
    assert len(results[0]['result']) == 1 and 'error' not in results[0]
    errors = [result['error'] for result in results[1:]]
    assert all(result['result'] == [] and result['score'] == 0 for result in results[1:])
    assert 'expected the content of an image file, got another one' in errors[0]
    assert errors[1].endswith("got nothing at 'none.jpg'") and 'got nothing at' in errors[2]
    assert all('expected /data/local-files/?d=..., got' in error for error in errors[3:])


@pytest.mark.parametrize(
    ('path', 'body', 'message'),
    [
        ('predict', b'{', 'body: expected JSON, got no valid JSON'),
        ('predict', b'[]', 'body: expected a JSON object, got a list'),
        ('predict', b'{"tasks": 3}', "tasks: expected a list, got '3'"),
        (
            'setup',
            b'{"schema": "<RectangleLabels name=\\"box\\" toName=\\"image\\">"}',
            'schema: expected RectangleLabels with name="label" and toName="image", got',
        ),
    ],
)
def test_wrong_requests_of_label_studio(label_studio, path, body, message):
    answer = label_studio.post(f'/label-studio/{path}', content=body)
    assert answer.status_code == 422 and message in answer.json()['error']


def test_label_studio_is_off_by_default(web):
    assert web.get('/label-studio/health').status_code == 404
