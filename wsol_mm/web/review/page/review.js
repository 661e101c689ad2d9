// The review page. What it shows is what the server has on its disk; what is being changed is sent at once, and
// the next image appears when the server has confirmed it.

const $ = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';
const AHEAD = 3; // images that are loaded before they are wanted
const COARSE = matchMedia('(pointer: coarse)').matches;
const HANDLES = [[0, 0], [.5, 0], [1, 0], [1, .5], [1, 1], [.5, 1], [0, 1], [0, .5]];
const CURSORS = ['nwse', 'ns', 'nesw', 'ew', 'nwse', 'ns', 'nesw', 'ew'];

const tab = (sessionStorage.tab ||= [...crypto.getRandomValues(new Uint8Array(12))].map((n) => n.toString(16)).join(''));
let categories = [];
let counts = {};
let queue = [];
let open = [];
let at = -1; // place in the queue; that of an image which undo has called may be in none
let image = null; // as the server knows it
let boxes = []; // as shown
let selected = -1;
let last = {}; // class that was chosen or deleted last, and in which image
let drawing = false;
let showMap = false;
let view = { scale: 1, x: 0, y: 0, fit: true };
let drag = null;
let pinch = null;
const fingers = new Map(); // where they are
let work = Promise.resolve();
let waiting = 0;
let unsaved = 0; // changes that are on their way
let moving = false; // to another image: what is pressed meanwhile was meant for neither
let era = 0; // a change that was made before the last conflict must not follow it

// ---------------------------------------------------------------- talking to the server

// Do one thing after the other, in the order of keys and clicks.
function act(task) {
  waiting += 1;
  showSaved();
  work = work.then(task).catch((error) => banner(String(error.message || error))).finally(() => { waiting -= 1; showSaved(); });
  return work;
}

async function ask(path, body) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(path, body === undefined ? {} : {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
      });
    } catch {
      await new Promise((retry) => {
        banner('The server does not answer. What you did last is not saved yet: start the server again.',
          [['Try now', retry]]);
        setTimeout(retry, 3000);
      });
      continue;
    }
    const content = await answer.json();
    if (answer.ok) { hideBanner(); return content; }
    const error = new Error(content.error || `The server answered ${answer.status}.`);
    throw Object.assign(error, { status: answer.status, content });
  }
}

function banner(text, buttons = []) {
  $('banner-text').textContent = text;
  $('banner-buttons').replaceChildren(...[...buttons, ['Close', () => {}]].slice(0, buttons.length || 1).map(([name, then]) => {
    const button = document.createElement('button');
    button.textContent = name;
    button.onclick = () => { hideBanner(); then(); };
    return button;
  }));
  $('banner').hidden = false;
}
const hideBanner = () => { $('banner').hidden = true; };
function showSaved() {
  $('saved').textContent = waiting ? 'saving …' : 'saved';
  $('saved').classList.toggle('busy', waiting > 0);
}

// ---------------------------------------------------------------- which image

async function loadQueue() {
  const parameters = new URLSearchParams({ state: $('state').value, low: $('low').value, high: $('high').value });
  if ($('category').value) parameters.set('category', $('category').value);
  const found = await ask(`api/queue?${parameters}`);
  queue = found.ids;
  open = found.open;
  const wanted = Number(new URLSearchParams(location.hash.slice(1)).get('image'));
  const first = open.indexOf(1);
  const place = queue.indexOf(wanted);
  await show(place >= 0 ? place : Math.max(first, 0));
}

async function show(place) {
  if (!queue.length) { nothing('No image is chosen by this filter.'); return; }
  if (place >= queue.length) { finished(); return; }
  at = Math.max(place, 0);
  await display(await ask(`api/images/${queue[at]}`));
  for (const id of queue.slice(at + 1, at + 1 + AHEAD)) new Image().src = `api/images/${id}/file`;
}

async function display(content, keepView = false) {
  const isOther = image === null || image.id !== content.id;
  take(content);
  history.replaceState(null, '', `#image=${content.id}`);
  $('message').hidden = true;
  $('canvas').hidden = false;
  if (isOther) {
    selected = boxes.length ? 0 : -1;
    const picture = $('image');
    picture.alt = content.name;
    picture.src = `api/images/${content.id}/file`;
    loadMap();
    await picture.decode().catch(() => {
      if (!picture.complete || !picture.naturalWidth) message(`${content.name} cannot be shown. Is the folder the right one?`);
    });
  }
  if (!keepView && isOther) fit();
  render();
}

function take(content) {
  image = content;
  boxes = content.boxes.map((box) => ({ ...box, bbox: [...box.bbox] }));
  selected = Math.min(selected, boxes.length - 1);
  const place = queue.indexOf(content.id);
  if (place >= 0) { at = place; open[place] = Number(content.verdict === null); }
}

function nothing(text) {
  image = null;
  boxes = [];
  $('boxes').replaceChildren();
  $('no-box').hidden = true;
  $('name').textContent = '';
  $('place').textContent = '';
  $('verdict').textContent = '';
  $('who').textContent = '';
  $('certainty').textContent = '';
  $('meter').style.width = 0;
  $('canvas').hidden = true;
  message(text);
  renderProgress();
}
function finished() {
  const left = open.filter(Boolean).length;
  at = queue.length;
  nothing(left ? `The end of this selection.\n${left} of its images are not checked yet.`
    : `Done: all ${queue.length} images of this selection are checked.\nExport writes the annotations.`);
}
function message(text) { $('message').textContent = text; $('message').hidden = false; }

function loadMap() {
  $('map').hidden = !showMap || !image;
  if ($('map').hidden) return;
  const box = boxes[selected];
  $('map').src = `api/images/${image.id}/map` + (box ? `?category=${box.category}` : '');
}
$('map').onerror = () => { $('map').hidden = true; };

// ---------------------------------------------------------------- what a reviewer does

// Keep the boxes as they are shown, with a verdict, and go on if asked to. A correction counts as checked.
function save(verdict, goOn = false) {
  if (!image) return;
  const { id, version } = image;
  const made = era;
  const sent = boxes.map(({ id: origin, category, bbox }) => ({ id: origin, category, bbox: [...bbox] }));
  unsaved += 1;
  moving = goOn;
  act(async () => {
    try {
      if (made !== era) return;
      // Versions count on while earlier changes of this tab are still under way.
      const current = image && image.id === id ? image.version : version;
      if (await send(id, { version: current, verdict, boxes: sent, tab }) && goOn) await show(nextOpen());
    } finally {
      unsaved -= 1;
      if (goOn) moving = false;
    }
  });
}

async function send(id, content) {
  try {
    const done = await ask(`api/images/${id}`, content);
    counts = done.counts;
    accept(done.image);
    return true;
  } catch (error) {
    if (error.status !== 409) {
      if (image && image.id === id) { take(image); render(); }
      throw error;
    }
    const theirs = error.content.image;
    if (same(theirs, content)) { accept(theirs); return true; } // the answer was lost, not the change
    era += 1;
    drag = null;
    take(theirs);
    render();
    banner('This image was changed in another tab meanwhile: that is what you see. Your change is not saved.', [
      ['Keep what is there', () => {}],
      ['Use mine instead', () => act(() => send(id, { ...content, version: theirs.version }))],
    ]);
    return false;
  }
}

// Take over what the server has made of a change, without what has been changed since then.
function accept(content) {
  if (!image || image.id !== content.id) return;
  if (unsaved > 1 || drag) {
    image = content;
    if (queue.includes(content.id)) open[queue.indexOf(content.id)] = Number(content.verdict === null);
  } else {
    take(content);
  }
  render();
}

function same(state, content) {
  return state.verdict === content.verdict && state.boxes.length === content.boxes.length && state.boxes.every(
    (box, i) => box.category === content.boxes[i].category && box.id === content.boxes[i].id
      && box.bbox.every((value, k) => Math.abs(value - content.boxes[i].bbox[k]) < 0.011));
}

function nextOpen() {
  for (let place = at + 1; place < queue.length; place += 1) if (open[place]) return place;
  return queue.length;
}
const judge = (verdict) => save(verdict, true);
function step(by) {
  moving = true;
  act(() => show(at + by).finally(() => { moving = false; }));
}
const undo = () => act(async () => {
  let done;
  try {
    done = await ask('api/undo', { tab });
  } catch (error) {
    if (error.status !== 409) throw error;
    await display(error.content.image);
    banner('Not undone: another tab has changed this image since.');
    return;
  }
  counts = done.counts;
  if (done.image) await display(done.image);
  else banner('There is nothing to undo.');
});

function remove(place) {
  if (!boxes[place]) return;
  last = { image: image.id, category: boxes[place].category };
  boxes.splice(place, 1);
  selected = Math.min(place, boxes.length - 1);
  render();
  save('right');
}
function classify(place, category) {
  boxes[place].category = category;
  last = { image: image.id, category };
  render();
  save('right');
}
function nudge(dx, dy, corner) {
  const box = boxes[selected];
  if (!box) return;
  const [x, y, w, h] = box.bbox;
  box.bbox = corner
    ? [x, y, clamp(w + dx, 1, image.width - x), clamp(h + dy, 1, image.height - y)]
    : [clamp(x + dx, 0, image.width - w), clamp(y + dy, 0, image.height - h), w, h];
  render();
  save('right');
}
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const rounded = (bbox) => bbox.map((value) => Math.round(value * 100) / 100);

async function write() {
  const done = await ask('api/export', { only_right: false });
  banner(`${done.annotations} boxes of ${done.images} images are in ${done.out}`);
}

// ---------------------------------------------------------------- mouse, pen and finger

function point(event) {
  const frame = $('stage').getBoundingClientRect();
  return [(event.clientX - frame.left - view.x) / view.scale, (event.clientY - frame.top - view.y) / view.scale];
}

$('stage').addEventListener('pointerdown', (event) => {
  if (!image || moving || event.target.closest('button, #banner')) return;
  event.preventDefault();
  document.activeElement?.blur();
  $('stage').setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (fingers.size > 1) {
    giveUp();
    pinch = { view: { ...view }, ...span() };
    return;
  }
  const start = point(event);
  const before = { boxes: boxes.map((box) => ({ ...box, bbox: [...box.bbox] })), selected };
  if (event.button === 1 || event.button === 2) {
    drag = { kind: 'pan', from: [event.clientX - view.x, event.clientY - view.y] };
    return;
  }
  const handle = event.target.dataset?.handle;
  const place = event.target.dataset?.box;
  if (handle !== undefined && !drawing) {
    drag = { kind: 'resize', start, before: [...boxes[selected].bbox], handle: HANDLES[handle] };
  } else if (place !== undefined && !drawing) {
    if (selected !== Number(place)) { selected = Number(place); loadMap(); }
    drag = { kind: 'move', start, before: [...boxes[selected].bbox] };
  } else {
    drag = { kind: 'draw', start: [clamp(start[0], 0, image.width), clamp(start[1], 0, image.height)], of: selected };
  }
  Object.assign(drag, { was: before });
  render();
});

// The middle between two fingers, and how far they are from each other.
function span() {
  const [[x0, y0], [x1, y1]] = [...fingers.values()];
  const frame = $('stage').getBoundingClientRect();
  return { x: (x0 + x1) / 2 - frame.left, y: (y0 + y1) / 2 - frame.top, size: Math.max(Math.hypot(x1 - x0, y1 - y0), 1) };
}

// Leave the boxes as they were before the drag.
function giveUp() {
  if (drag?.was) ({ boxes, selected } = drag.was);
  drag = null;
  render();
}

$('stage').addEventListener('pointermove', (event) => {
  if (fingers.has(event.pointerId)) fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (pinch && image && fingers.size > 1) {
    const now = span();
    const scale = clamp(pinch.view.scale * now.size / pinch.size, 0.02, 40);
    const grown = scale / pinch.view.scale;
    view = { scale, x: now.x - (pinch.x - pinch.view.x) * grown, y: now.y - (pinch.y - pinch.view.y) * grown, fit: false };
    render();
    return;
  }
  if (!drag || !image) return;
  const [x, y] = point(event);
  if (drag.kind === 'pan') {
    view = { ...view, x: event.clientX - drag.from[0], y: event.clientY - drag.from[1], fit: false };
    place();
    return;
  }
  if (drag.kind === 'draw') {
    const [x0, y0] = drag.start;
    const [x1, y1] = [clamp(x, 0, image.width), clamp(y, 0, image.height)];
    const bbox = [Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0)];
    if (!drag.box && Math.max(bbox[2], bbox[3]) * view.scale < 5) return;
    if (!drag.box) {
      const here = last.image === image.id ? last.category : null;
      const category = here ?? (boxes[drag.of] ?? boxes[0])?.category ?? last.category ?? categories[0].id;
      drag.box = { id: null, category, bbox, means: 'drawn', certainty: null };
      boxes.push(drag.box);
      selected = boxes.length - 1;
    }
    drag.box.bbox = bbox;
  } else {
    const [dx, dy] = [x - drag.start[0], y - drag.start[1]];
    let [x0, y0, w, h] = drag.before;
    let [x1, y1] = [x0 + w, y0 + h];
    if (drag.kind === 'move') {
      x0 = clamp(x0 + dx, 0, image.width - w); y0 = clamp(y0 + dy, 0, image.height - h);
      [x1, y1] = [x0 + w, y0 + h];
    } else {
      const [hx, hy] = drag.handle;
      if (hx === 0) x0 = clamp(x0 + dx, 0, x1 - 1);
      if (hx === 1) x1 = clamp(x1 + dx, x0 + 1, image.width);
      if (hy === 0) y0 = clamp(y0 + dy, 0, y1 - 1);
      if (hy === 1) y1 = clamp(y1 + dy, y0 + 1, image.height);
    }
    if (drag.moved || Math.max(Math.abs(dx), Math.abs(dy)) * view.scale >= 2) {
      drag.moved = true;
      boxes[selected].bbox = [x0, y0, x1 - x0, y1 - y0];
    }
  }
  render();
});

function release(event) {
  fingers.delete(event.pointerId);
  if (!fingers.size) pinch = null;
  if (!drag || !image) { drag = null; return; }
  const ended = drag;
  drag = null;
  const box = boxes[selected];
  if (ended.kind === 'draw' && !ended.box) {
    selected = -1;
  } else if (ended.kind === 'draw' && Math.min(box.bbox[2], box.bbox[3]) < 1) {
    boxes.pop();
    selected = ended.of;
  } else if (ended.box || ended.moved) {
    box.bbox = rounded(box.bbox);
    setDrawing(false);
    save('right');
  }
  render();
}
$('stage').addEventListener('pointerup', release);
$('stage').addEventListener('pointercancel', (event) => {
  fingers.delete(event.pointerId);
  if (!fingers.size) pinch = null;
  giveUp();
});
$('stage').addEventListener('contextmenu', (event) => event.preventDefault());
$('stage').addEventListener('wheel', (event) => {
  event.preventDefault();
  const frame = $('stage').getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 500), event.clientX - frame.left, event.clientY - frame.top);
}, { passive: false });

function zoom(factor, x = $('stage').clientWidth / 2, y = $('stage').clientHeight / 2) {
  if (!image) return;
  const scale = clamp(view.scale * factor, 0.02, 40);
  view = { scale, x: x - (x - view.x) * scale / view.scale, y: y - (y - view.y) * scale / view.scale, fit: false };
  render();
}
function fit() {
  if (!image) return;
  const [width, height] = [$('stage').clientWidth, $('stage').clientHeight];
  const margin = width > 700 ? 28 : 8;
  const scale = Math.min((width - 2 * margin) / image.width, (height - 2 * margin) / image.height, 8);
  view = { scale, x: (width - image.width * scale) / 2, y: (height - image.height * scale) / 2, fit: true };
  render();
}
new ResizeObserver(() => { if (view.fit) fit(); }).observe($('stage'));

function setDrawing(on) {
  drawing = on;
  $('draw').setAttribute('aria-pressed', on);
}

// ---------------------------------------------------------------- showing

function place() {
  const canvas = $('canvas');
  canvas.style.width = `${image.width * view.scale}px`;
  canvas.style.height = `${image.height * view.scale}px`;
  canvas.style.transform = `translate(${view.x}px, ${view.y}px)`;
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function render() {
  renderProgress();
  if (!image) return;
  place();
  const overlay = $('overlay');
  overlay.setAttribute('viewBox', `0 0 ${image.width} ${image.height}`);
  overlay.classList.toggle('wrong-image', image.verdict === 'wrong');
  const order = boxes.map((_, i) => i).sort((a, b) => (a === selected) - (b === selected));
  overlay.replaceChildren(...order.map((i) => drawBox(boxes[i], i)));
  renderSide();
}

function drawBox(box, i) {
  const [x, y, width, height] = box.bbox;
  const group = element('g', { class: `box ${box.means}${i === selected ? ' selected' : ''}` });
  const sides = { x, y, width, height };
  group.append(element('rect', { class: 'halo', ...sides }), element('rect', { class: 'edge', 'data-box': i, ...sides }));
  const size = 14 / view.scale;
  const away = (i === selected ? (COARSE ? 12 : 8) : 5) / view.scale; // from the handles
  const text = element('text', {
    x: x + 3 / view.scale, y: y > size + away ? y - away : y + size + away, 'font-size': size, 'stroke-width': size / 4,
  });
  text.textContent = nameOf(box.category);
  group.append(text);
  if (i === selected) {
    const [half, grip] = [(COARSE ? 8 : 5) / view.scale, (COARSE ? 22 : 9) / view.scale];
    HANDLES.forEach(([hx, hy], number) => {
      const [cx, cy] = [x + hx * width, y + hy * height];
      group.append(element('rect', { class: 'handle', x: cx - half, y: cy - half, width: 2 * half, height: 2 * half }));
      const cursor = element('rect', { class: 'grip', 'data-handle': number, x: cx - grip, y: cy - grip, width: 2 * grip, height: 2 * grip });
      cursor.style.cursor = `${CURSORS[number]}-resize`;
      group.append(cursor);
    });
  }
  return group;
}

const nameOf = (id) => categories.find((category) => category.id === id)?.name ?? '?';
const percent = (value) => value === null ? '–' : value.toFixed(2);

function renderProgress() {
  const all = counts.all || 1;
  for (const key of ['right', 'corrected', 'wrong']) $(`bar-${key}`).style.width = `${100 * (counts[key] || 0) / all}%`;
  const number = document.createElement('b');
  number.textContent = `${counts.checked ?? 0} of ${counts.all ?? 0}`;
  $('counts').replaceChildren(number, ' checked');
  $('counts').title = `${counts.right ?? 0} right, ${counts.corrected ?? 0} corrected, ${counts.wrong ?? 0} wrong`;
  $('progress').setAttribute('aria-valuemax', counts.all ?? 0);
  $('progress').setAttribute('aria-valuenow', counts.checked ?? 0);
  for (const id of ['right', 'wrong', 'draw', 'next']) $(id).disabled = !image;
  $('previous').disabled = at <= 0;
}

function renderSide() {
  $('name').textContent = image.name;
  $('place').textContent = queue.includes(image.id) ? `${at + 1} of ${queue.length}` : 'not in this selection';
  const changed = image.verdict === 'right' && image.corrected;
  const chip = image.verdict === null ? 'not checked' : changed ? 'corrected' : image.verdict;
  $('verdict').textContent = chip;
  $('verdict').className = `chip ${chip}`;
  $('certainty').textContent = image.certainty.toFixed(2);
  $('meter').style.width = `${100 * image.certainty}%`;
  $('no-box').hidden = boxes.length > 0;
  $('who').textContent = image.by ? `${image.by}, ${new Date(image.time).toLocaleString()}` : '';
  $('boxes').replaceChildren(...boxes.map(sideBox));
}

function sideBox(box, i) {
  const line = document.createElement('li');
  line.className = `${box.means}${i === selected ? ' selected' : ''}`;
  line.dataset.box = i;
  const select = document.createElement('select');
  select.setAttribute('aria-label', `Class of box ${i + 1}`);
  select.append(...categories.map(({ id, name }) => new Option(name, id, false, id === box.category)));
  select.onchange = () => { selected = i; classify(i, Number(select.value)); };
  const trash = document.createElement('button');
  trash.className = 'quiet';
  trash.textContent = 'Delete';
  trash.onclick = (event) => { event.stopPropagation(); remove(i); };
  const about = document.createElement('span');
  about.className = 'about';
  const sure = box.means === 'predicted' && box.certainty !== null ? `, certainty ${percent(box.certainty)}` : '';
  about.textContent = `${box.means}${sure} · ${box.bbox.map((value) => Math.round(value)).slice(2).join(' × ')} px`;
  line.append(select, trash, about);
  line.onclick = (event) => { if (event.target !== select && selected !== i) { selected = i; loadMap(); render(); } };
  return line;
}

// ---------------------------------------------------------------- buttons and keys

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = {
  Enter: () => judge('right'), y: () => judge('right'), x: () => judge('wrong'),
  ArrowRight: () => step(1), n: () => step(1), ArrowLeft: () => step(-1), p: () => step(-1), u: undo,
  Delete: () => remove(selected), Backspace: () => remove(selected), d: () => remove(selected),
  c: () => document.querySelector('#boxes li.selected select')?.focus(),
  b: () => setDrawing(!drawing), m: toggleMap, '+': () => zoom(1.25), '=': () => zoom(1.25), '-': () => zoom(0.8), 0: fit,
  Escape: () => { setDrawing(false); selected = -1; if (image) render(); }, '?': () => $('help').showModal(),
};
function toggleMap() {
  if ($('map-toggle').hidden) return;
  showMap = !showMap;
  $('map-toggle').setAttribute('aria-pressed', showMap);
  loadMap();
}

document.addEventListener('keydown', (event) => {
  const control = event.target.closest?.('select, input, dialog');
  if (control) {
    // A class is chosen by typing; Escape gives the keys back to the page.
    if (event.key === 'Escape' && !control.matches('dialog')) control.blur();
    return;
  }
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'z') { event.preventDefault(); undo(); return; }
  if (event.ctrlKey || event.metaKey || drag || moving) return;
  const arrow = ARROWS[event.key];
  if (arrow && (event.shiftKey || event.altKey)) { event.preventDefault(); nudge(...arrow, event.altKey); return; }
  if (event.altKey) return;
  if (event.key === 'Tab' && boxes.length && event.target === document.body) {
    event.preventDefault();
    selected = (selected + (event.shiftKey ? boxes.length - 1 : 1)) % boxes.length;
    loadMap();
    render();
    return;
  }
  if (event.target.closest?.('button') && ['Enter', ' '].includes(event.key)) return;
  const key = KEYS[event.key] || KEYS[event.key.toLowerCase()];
  if (!key || event.repeat && !arrow) return;
  event.preventDefault();
  key();
});

const pressed = {
  right: () => judge('right'), wrong: () => judge('wrong'), next: () => step(1), previous: () => step(-1), undo,
  export: () => act(write), draw: () => setDrawing(!drawing), 'map-toggle': toggleMap,
  'zoom-in': () => zoom(1.25), 'zoom-out': () => zoom(0.8), 'zoom-fit': fit, 'help-toggle': () => $('help').showModal(),
  'filter-toggle': () => $('filter-toggle').setAttribute('aria-expanded', $('filters').classList.toggle('open')),
};
for (const [id, then] of Object.entries(pressed)) $(id).onclick = () => { $(id).blur(); if (!moving) then(); };
$('filters').onsubmit = (event) => event.preventDefault();
$('filters').onchange = (event) => { event.target.blur(); filter(); };
$('filters').oninput = (event) => {
  const [low, high] = [$('low'), $('high')];
  if (event.target === low && Number(low.value) > Number(high.value)) high.value = low.value;
  if (event.target === high && Number(high.value) < Number(low.value)) low.value = high.value;
  showRange();
};
const showRange = () => { $('range').textContent = `${Number($('low').value).toFixed(2)} – ${Number($('high').value).toFixed(2)}`; };
const FILTERS = ['state', 'category', 'low', 'high'];
function filter() {
  sessionStorage.filters = JSON.stringify(FILTERS.map((id) => $(id).value));
  act(async () => { history.replaceState(null, '', '#'); counts = (await ask('api/summary')).counts; await loadQueue(); });
}

// Leaving while something is on its way is asked about.
addEventListener('beforeunload', (event) => { if (waiting) event.preventDefault(); });

act(async () => {
  const summary = await ask('api/summary');
  ({ categories, counts } = summary);
  $('export').title = `Write ${summary.out}`;
  $('map-toggle').hidden = !summary.has_maps;
  $('category').append(...categories.map(({ id, name }) => new Option(name, id)));
  JSON.parse(sessionStorage.filters || '[]').forEach((value, i) => { $(FILTERS[i]).value = value; });
  showRange();
  await loadQueue();
  document.body.dataset.ready = '1';
});
