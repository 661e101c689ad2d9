// Sends an image to the model and shows what it says of it.

const $ = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';
let current = null;
let asked = 0;

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

async function predict() {
  if (!current) return;
  const mine = asked += 1;
  $('error').hidden = true;
  $('drop').classList.add('busy');
  try {
    const start = performance.now();
    const topk = $('topk').value;
    const answer = await fetch(`predict?topk=${topk}`, { method: 'POST', body: current });
    const content = await answer.json();
    if (mine !== asked) return;
    if (!answer.ok) throw new Error(content.error);
    $('time').textContent = `${Math.round(performance.now() - start)} ms`;
    show(content);
    await showImage(mine, topk);
  } catch (error) {
    if (mine === asked) fail(error.message === 'Failed to fetch' ? 'The server does not answer.' : error.message);
  } finally {
    if (mine === asked) $('drop').classList.remove('busy');
  }
}

async function showImage(mine) {
  let source = current;
  if ($('map').checked) {
    const answer = await fetch('predict?output=picture', { method: 'POST', body: current });
    if (!answer.ok) throw new Error((await answer.json()).error);
    source = await answer.blob();
  }
  if (mine !== asked) return;
  URL.revokeObjectURL($('image').src);
  $('image').src = URL.createObjectURL(source);
  $('overlay').style.display = $('map').checked ? 'none' : ''; // the picture has its own box
  await $('image').decode().catch(() => {});
  $('invite').hidden = true;
  $('stage').hidden = false;
}

function show({ width, height, boxes }) {
  const size = Math.max(width, height) / 40;
  $('overlay').setAttribute('viewBox', `0 0 ${width} ${height}`);
  $('overlay').replaceChildren(...boxes.flatMap(({ box: [x0, y0, x1, y1], class: name }) => {
    const sides = { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
    const text = element('text', { x: x0 + size / 4, y: y0 > 1.5 * size ? y0 - size / 3 : y0 + 1.1 * size, 'font-size': size, 'stroke-width': size / 4 });
    text.textContent = name;
    return [element('rect', { class: 'halo', ...sides }), element('rect', sides), text];
  }));
  $('boxes').hidden = false;
  $('boxes').tBodies[0].replaceChildren(...boxes.map(({ class: name, score, confidence, box }) => {
    const row = document.createElement('tr');
    for (const value of [name, score.toFixed(3), confidence.toFixed(2), box.map((side) => side.toFixed(1)).join(', ')]) row.insertCell().textContent = value;
    return row;
  }));
  if (!boxes.length) $('boxes').tBodies[0].insertRow().insertCell().textContent = 'nothing found';
}

function fail(text) {
  $('error').textContent = text;
  $('error').hidden = false;
}

function take(file) {
  if (!file) return;
  current = file;
  predict();
}

$('file').onchange = () => take($('file').files[0]);
$('topk').onchange = predict;
$('map').onchange = predict;
$('drop').onkeydown = (event) => { if (['Enter', ' '].includes(event.key)) $('file').click(); };
for (const name of ['dragover', 'dragleave', 'drop']) {
  addEventListener(name, (event) => {
    event.preventDefault();
    $('drop').classList.toggle('over', name === 'dragover');
    if (name === 'drop') take(event.dataTransfer.files[0]);
  });
}
addEventListener('paste', (event) => take([...event.clipboardData.files][0]));

const [health, classes] = await Promise.all(['health', 'classes'].map(async (path) => (await fetch(path)).json()));
$('model').textContent = `${health.model}, ${classes.length} classes`;
for (let k = 1; k <= Math.min(5, classes.length); k += 1) $('topk').add(new Option(k === 1 ? 'the best' : `the ${k} best`, k));
$('command').textContent = `curl --data-binary @photo.jpg ${location.origin}/predict\n`
  + `curl --data-binary @photo.jpg '${location.origin}/predict?output=picture' --output picture.png`;
document.body.dataset.ready = '1';
