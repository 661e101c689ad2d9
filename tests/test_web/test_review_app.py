"""The review page's server: what it gives, to whom, and what it refuses."""

import json
import threading
from io import BytesIO

from wsol_mm.web.access import AccessGuard, access_token, is_loopback
from wsol_mm.web.inside_folder import file_inside
from wsol_mm.web.review.review_set import ReviewSet

import numpy as np
import pytest
from PIL import Image

from .review_samples import HEIGHT, WIDTH, write_samples

TestClient = pytest.importorskip('fastapi.testclient').TestClient
server = pytest.importorskip('wsol_mm.web.review.review_app')


def client(folder, token=None, maps=None, **options):
    review = ReviewSet(folder / 'boxes.json', folder / 'out.json.journal', 'anna')
    app = server.review_app(review, folder / 'photos', folder / 'out.json', maps, token)
    return TestClient(app, base_url='http://localhost', **options)


@pytest.fixture
def place(tmp_path):
    write_samples(tmp_path)
    return tmp_path


def body(version=0, verdict='right', boxes=(), tab='a'):
    return dict(version=version, tab=tab, verdict=verdict, boxes=list(boxes))


def test_a_review(place):
    web = client(place)
    assert web.get('/api/queue').json() == dict(ids=[2, 4, 3, 1], open=[1, 1, 1, 1])
    image = web.get('/api/images/2').json()
    assert (image['name'], image['version'], image['certainty']) == ('2.png', 0, 0.1)
    assert image['boxes'] == [
        dict(id=20, category=1, bbox=[18, 12, 20, 16], means='predicted', certainty=0.1)
    ]
    answer = web.post('/api/images/2', json=body(boxes=[dict(id=20, category=2, bbox=[20, 10, 30, 20])]))
    assert (
        answer.json()['image']['boxes'][0]['means'] == 'corrected' and answer.json()['counts']['checked'] == 1
    )
    assert json.loads((place / 'out.json.journal').read_text().splitlines()[1])['image'] == 2
    conflict = web.post('/api/images/2', json=body(verdict='wrong', tab='b'))
    assert conflict.status_code == 409 and conflict.json()['image']['version'] == 1
    assert web.get('/api/queue', params=dict(state='unchecked')).json()['ids'] == [4, 3, 1]
    assert web.post('/api/export', json={}).json()['annotations'] == 4
    assert json.loads((place / 'out.json').read_text())['annotations'][1]['bbox'] == [20, 10, 30, 20]
    assert web.post('/api/undo', json=dict(tab='a')).json()['image']['verdict'] is None
    assert web.post('/api/undo', json=dict(tab='a')).json()['image'] is None


def test_of_many_changes_at_once_each_version_is_made_once(place):
    web = client(place)
    statuses = []

    def change(tab):
        statuses.append(web.post('/api/images/1', json=body(tab=f'tab {tab}')).status_code)

    threads = [threading.Thread(target=change, args=(tab,)) for tab in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7


@pytest.mark.parametrize(
    ('method', 'path', 'content', 'status', 'message'),
    [
        ('GET', '/api/images/99', None, 404, 'image: expected the id of an image, got 99'),
        ('GET', '/api/images/x', None, 422, ''),
        ('GET', '/api/queue?state=odd', None, 422, 'state: expected one of all, '),
        ('GET', '/api/queue?category=9', None, 422, 'category: expected the id of a category, got 9'),
        ('GET', '/etc/passwd', None, 404, 'expected a page'),
        ('GET', '/..%2f..%2fboxes.json', None, 404, 'expected a page'),
        ('GET', '/api/images/1/map', None, 404, 'expected a map of this image, got none'),
        ('POST', '/api/images/1', b'{', 422, 'body: expected JSON'),
        ('POST', '/api/images/1', b'[]', 422, 'body: expected an object of JSON'),
        ('POST', '/api/images/1', b'{}', 422, 'version: expected an integer, got None'),
        ('POST', '/api/images/1', b' ' * (1 << 21), 413, 'body: expected at most 1048576 bytes, got more'),
        ('DELETE', '/api/images/1', None, 405, ''),
    ],
)
def test_wrong_requests(place, method, path, content, status, message):
    answer = client(place).request(method, path, content=content)
    assert answer.status_code == status and message in answer.text


def test_images_come_from_their_folder_alone(place):
    """Neither a path upwards, nor an absolute one, nor a link leads out of it."""
    Image.new('RGB', (8, 8)).save(place / 'secret.png')
    (place / 'photos' / 'link.png').symlink_to(place / 'secret.png')
    (place / 'photos' / 'loop.png').symlink_to('loop.png')
    coco = json.loads((place / 'boxes.json').read_text())
    names = ['../secret.png', str(place / 'secret.png'), 'link.png', 'loop.png', 'a\0.png', '', '..', '1.png']
    coco['images'] = [dict(id=i, file_name=name, width=8, height=8) for i, name in enumerate(names)]
    coco['annotations'] = []
    (place / 'boxes.json').write_text(json.dumps(coco))
    web = client(place, maps=place / 'photos')
    found = [web.get(f'/api/images/{i}/file').status_code for i in range(len(names))]
    assert found == [404] * 7 + [200]
    assert file_inside(place / 'photos', '1.png') == (place / 'photos' / '1.png').resolve()


@pytest.mark.parametrize('suffix', ['.tif', '.bmp', '.jpg'])
def test_formats_that_browsers_do_not_show_are_converted(place, suffix):
    coco = json.loads((place / 'boxes.json').read_text())
    coco['images'][0]['file_name'] = f'1{suffix}'
    (place / 'boxes.json').write_text(json.dumps(coco))
    Image.open(place / 'photos' / '1.png').save(place / 'photos' / f'1{suffix}')
    answer = client(place).get('/api/images/1/file')
    assert answer.headers['content-type'] == ('image/jpeg' if suffix == '.jpg' else 'image/png')
    assert Image.open(BytesIO(answer.content)).size == (WIDTH, HEIGHT)


def test_a_file_that_is_no_image(place):
    (place / 'photos' / '1.txt').write_text('secret')
    coco = json.loads((place / 'boxes.json').read_text())
    coco['images'][0]['file_name'] = '1.txt'
    (place / 'boxes.json').write_text(json.dumps(coco))
    answer = client(place).get('/api/images/1/file')
    assert answer.status_code == 404 and 'secret' not in answer.text


def test_maps(place):
    maps = place / 'maps'
    maps.mkdir()
    grid = np.zeros((2, 3, 4), np.float32)
    grid[0, 1, 1] = grid[1, 2, 3] = 1
    np.savez(maps / '1.png.npz', maps=grid, labels=[1, 0])
    np.savez(maps / '2.png.npz', other=grid)
    web = client(place, maps=maps)
    for category, cell in ((2, (1, 1)), (1, (2, 3)), (None, (1, 1))):
        params = {} if category is None else dict(category=category)
        answer = web.get('/api/images/1/map', params=params)
        picture = np.asarray(Image.open(BytesIO(answer.content)))
        assert picture.shape == (3, 4, 4) and np.unravel_index(picture[..., 3].argmax(), (3, 4)) == cell
    assert web.get('/api/images/2/map').status_code == 422
    assert web.get('/api/images/3/map').status_code == 404


def test_the_page_asks_no_other_host(place):
    web = client(place)
    for name in ('/', '/review.js', '/review.css'):
        answer = web.get(name)
        assert answer.status_code == 200 and "default-src 'self'" in answer.headers['content-security-policy']
        assert 'https://' not in answer.text and 'http://' not in answer.text.replace(
            'http://www.w3.org/2000', ''
        )


def test_loopback_takes_no_other_name_and_no_other_site(place):
    """A name that another site has given to 127.0.0.1 is refused, and so is a form of another site."""
    web = client(place)
    for host in ('evil.example', '10.0.0.1:8020', ''):
        assert web.get('/api/summary', headers=dict(host=host)).status_code == 403
    for host in ('127.0.0.1:8020', '[::1]:8020', 'LOCALHOST'):
        assert web.get('/api/summary', headers=dict(host=host)).status_code == 200
    answer = web.post('/api/images/1', json=body(), headers=dict(origin='http://evil.example'))
    assert answer.status_code == 403 and 'Origin: expected a page of localhost' in answer.text
    assert web.post('/api/images/1', json=body(), headers=dict(origin='http://localhost')).status_code == 200


def test_other_machines_need_the_token(place):
    web = client(place, token='s3cret-and-long-enough', follow_redirects=False)
    for path in ('/', '/review.js', '/api/summary', '/api/images/1/file', '/?token=another'):
        answer = web.get(path, headers=dict(host='photos.example'))
        assert answer.status_code == 401 and 'token: expected the one' in answer.text
    assert web.post('/api/undo', json=dict(tab='a')).status_code == 401
    bearer = dict(authorization='Bearer s3cret-and-long-enough')
    assert web.get('/api/summary', headers=bearer).status_code == 200
    for user in ('', 'anna'):
        assert web.get('/api/summary', auth=(user, 's3cret-and-long-enough')).status_code == 200
    for wrong in ('Basic ', 'Basic !!', 'Basic /w==', 'Basic czNjcmV0LWFuZC1sb25nLWVub3VnaA=='):
        assert web.get('/api/summary', headers=dict(authorization=wrong)).status_code == 401
    entered = web.get('http://localhost//evil.example?token=s3cret-and-long-enough&a=1')
    assert entered.status_code == 303 and entered.headers['location'] == '/evil.example?a=1'
    entered = web.get('/?token=s3cret-and-long-enough')
    assert entered.headers['location'] == '/' and 'HttpOnly' in entered.headers['set-cookie']
    assert web.get('/').status_code == 200  # with the cookie


def test_tokens(tmp_path):
    assert (
        access_token('127.0.0.1') is None
        and access_token('localhost') is None
        and access_token('::1') is None
    )
    first, second = access_token('0.0.0.0'), access_token('0.0.0.0')
    assert first != second and len(first) >= 32
    file = tmp_path / 'token'
    kept = access_token('127.0.0.1', file)
    assert kept == access_token('0.0.0.0', file) and file.stat().st_mode & 0o077 == 0
    file.write_text('short')
    with pytest.raises(ValueError, match='expected a token of at least 16'):
        access_token('0.0.0.0', file)
    assert not is_loopback('0.0.0.0') and not is_loopback('') and not is_loopback('localhost.evil.example')


def test_the_guard_gives_the_whole_body_on(tmp_path):
    async def echo(scope, receive, send):
        message = await receive()
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': message['body']})

    web = TestClient(AccessGuard(echo, None, 1000), base_url='http://localhost')
    assert web.post('/', content=b'x' * 1000).content == b'x' * 1000
    assert web.post('/', content=(b'x' * 100 for _ in range(11))).status_code == 413
    assert web.post('/', content=b'x' * 9000).status_code == 413
