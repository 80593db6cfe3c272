// SPDX-License-Identifier: GPL-2.0-or-later
// report.js - the report: a timeline, a table of records, and what filters
// them.
//
// All that the guest wrote comes as JSON and becomes text (textContent) or
// pixels, never markup.  Rows are made only for the part that is in view.
'use strict';

const data = JSON.parse(document.getElementById('data').textContent);
const LEVELS = ['emerg', 'alert', 'crit', 'err', 'warn', 'notice', 'info',
                'debug'];
const ROW = 20; // px, as report.css has it
const TALL = 12e6; // px; browsers draw nothing below some 16 million
const PRINTED = 2000; // rows on paper
const $ = (id) => document.getElementById(id);

function make(tag, cls, text) {
  const e = document.createElement(tag);
  if (cls)
    e.className = cls;
  if (text !== undefined)
    e.textContent = text;
  return e;
}

// Control characters and what turns the direction of writing, as \xNN or
// \uNNNN.
function visible(text) {
  return text.replace(
    /[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (c) => c.charCodeAt(0) < 256
      ? '\\x' + c.charCodeAt(0).toString(16).padStart(2, '0')
      : '\\u' + c.charCodeAt(0).toString(16));
}

// ---- records: columns, so that 100,000 of them are looked at at once ----

const N = data.rows.length;
const time = new Float64Array(N); // ns behind the first one
const ring = new Uint16Array(N);
const kind = new Uint8Array(N);
const level = new Uint8Array(N);
const event = new Int16Array(N);
const who = new Array(N);
const text = new Array(N);
const sched = new Array(N);
const base = BigInt(data.base || 0), real = BigInt(data.real || 0);

data.rows.forEach((row, i) => {
  time[i] = (i ? time[i - 1] : 0) + row[0];
  [, ring[i], kind[i], level[i], event[i], who[i]] = row;
  text[i] = visible(row[6]);
  sched[i] = row[7];
});
delete data.rows;

let first = 0, last = 1;
for (let i = 0; i < N; i++) {
  first = Math.min(first, time[i]);
  last = Math.max(last, time[i]);
}

const eventName = (i) => event[i] < 0 ? '' : data.events[event[i]];

function seconds(ns, places) {
  const at = base + BigInt(Math.round(ns));
  const part = (at % 1000000000n).toString().padStart(9, '0');
  return at / 1000000000n + (places ? '.' + part.slice(0, places) : '');
}

function wall(ns) {
  if (!real)
    return '';
  const at = real + BigInt(Math.round(ns));
  return new Date(Number(at / 1000000n)).toISOString().replace('T', ' ')
    .replace('Z', ' UTC');
}

function span(ns) {
  for (const [unit, size] of [['s', 1e9], ['ms', 1e6], ['µs', 1e3]])
    if (ns >= size)
      return (ns / size).toFixed(ns < 10 * size ? 3 : 1) + ' ' + unit;
  return Math.round(ns) + ' ns';
}

// ---- head ----

function facts() {
  const stats = data.stats, boot = data.boots.find((b) => b.boot === data.boot);
  const lost = { overwritten: 0, torn: 0, corrupt: 0, dropped: 0 };
  for (const l of stats.loss)
    if (l.boot === data.boot)
      for (const what in lost)
        lost[what] += l[what];
  const gone = Object.keys(lost).filter((what) => lost[what])
    .map((what) => lost[what].toLocaleString('en') + ' ' + what);
  const name = visible(stats.label || stats.file);
  document.title = name + ', boot ' + data.boot + ' - dlog';
  $('title').textContent = name;
  const back = boot ? boot.back : 0;
  const list = [['Boot', data.boot + (back ? ', ' + back + ' before the latest'
                                           : ', the latest')]];
  if (boot) {
    list.push(['Kernel', visible(boot.release)]);
    list.push(['Ended', visible(data.ended[data.boots.indexOf(boot)])]);
  }
  if (N)
    list.push(['Shown', seconds(first, 6) + ' to ' + seconds(last, 6) +
                        ' (' + span(last - first) + ')']);
  if (real)
    list.push(['Wall clock at the end', wall(last)]);
  list.push(['Lost in this boot', gone.join(', ') || 'nothing']);
  if (data.cut)
    list.push(['Cut', 'only the last ' + N.toLocaleString('en') +
                      ' records; -n takes more']);
  for (const [what, value] of list) {
    const div = make('div');
    div.append(make('dt', '', what), make('dd', '', value));
    $('facts').append(div);
  }
}

function table(columns, rows) {
  const t = make('table'), scroll = make('div', 'scroll');
  const head = t.createTHead().insertRow(), body = t.createTBody();
  for (const c of columns)
    head.append(Object.assign(make('th', c[2], c[0]), { scope: 'col' }));
  for (const r of rows) {
    const tr = body.insertRow();
    for (const c of columns)
      tr.append(make('td', c[2], visible(String(c[1](r) ?? ''))));
  }
  scroll.append(t);
  return scroll;
}

const column = (name, key) => [name, (r) => r[key].toLocaleString('en'),
                               'number'];

function tables() {
  $('boots').append(table([
    ['Boot', (b) => b.boot, 'number'], ['Kernel', (b) => b.release],
    ['Began', (b) => b.started
      ? new Date(b.started * 1000).toISOString().slice(0, 19).replace('T', ' ')
      : '-'],
    ['Last record at', (b) => b.records ? b.last_time.toFixed(6) : '-',
     'number'],
    ['Ended', (b) => data.ended[data.boots.indexOf(b)]]], data.boots));
  $('beats').append(table([
    ['CPU', (b) => b.cpu, 'number'], ['Ring', (b) => b.ring, 'number'],
    ['Last heartbeat at', (b) => b.time.toFixed(6), 'number'],
    ['Behind the newest', (b) => b.behind.toFixed(3) + ' s', 'number'],
    column('Beats', 'beats'),
    ['', (b) => !b.online ? 'offline' : b.stale && data.lives ? 'stale' : '']],
    data.stats.cpus));
  $('loss').append(table([
    column('Boot', 'boot'), column('Ring', 'ring'),
    column('Records', 'records'), column('Written', 'written'),
    column('Overwritten', 'overwritten'), column('Torn', 'torn'),
    column('Corrupt', 'corrupt'), column('Dropped', 'dropped'),
    column('Bytes', 'bytes'), column('Bad bytes', 'bad_bytes')],
    data.stats.loss));
}

// ---- filters ----

let shown = new Int32Array(0); // records that pass, in order
let place = new Int32Array(N); // of each record in there, or -1
let search = null; // RegExp, global

function boxes(legend, names, values) {
  const set = make('fieldset'), on = new Map();
  set.append(make('legend', '', legend));
  names.forEach((name, value) => {
    const count = values.reduce((n, v) => n + (v === value), 0);
    if (!count)
      return;
    const label = make('label'), box = make('input');
    box.type = 'checkbox';
    box.checked = true;
    box.value = value;
    box.addEventListener('change', filter);
    on.set(value, box);
    label.append(box, name + ' ',
                 make('i', '', count.toLocaleString('en')));
    set.append(label);
  });
  $('filters').append(set);
  set.hidden = on.size < 2;
  set.id = legend.toLowerCase() + 's';
  return on;
}

function events() {
  const counts = data.events.map(() => 0);
  event.forEach((e) => e >= 0 && counts[e]++);
  $('event').append(new Option('all events', ''),
                    new Option('no events', '-'));
  data.events.map((name, i) => [name, i])
    .sort((a, b) => a[0] < b[0] ? -1 : 1)
    .forEach(([name, i]) => $('event').append(
      new Option(name + ' (' + counts[i].toLocaleString('en') + ')', i)));
  $('event').hidden = !data.events.length;
  $('event').addEventListener('change', filter);
}

function pattern() {
  const typed = $('search').value;
  $('search').setCustomValidity('');
  if (!typed)
    return null;
  try {
    const re = new RegExp($('regex').checked
      ? typed : typed.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), 'gi');
    return re;
  } catch (error) {
    $('search').setCustomValidity('not a regular expression');
    return null;
  }
}

const line = (i) => (who[i] ? who[i] + ' ' : '') + text[i];

function passes(i) {
  if (!levels.get(level[i]).checked || !lanes.get(ring[i]).checked ||
      !kinds.get(kind[i]).checked)
    return false;
  const wanted = $('event').value;
  if (wanted === '-' ? event[i] >= 0 : wanted && event[i] !== +wanted)
    return false;
  if (!search)
    return true;
  search.lastIndex = 0;
  return search.test(line(i));
}

function filter() {
  search = pattern();
  const all = new Int32Array(N);
  let n = 0;
  for (let i = 0; i < N; i++) {
    place[i] = passes(i) ? n : -1;
    if (place[i] >= 0)
      all[n++] = i;
  }
  shown = all.subarray(0, n);
  $('count').textContent = n.toLocaleString('en') + ' of ' +
    N.toLocaleString('en') + ' records';
  $('rows').setAttribute('aria-rowcount', n);
  layout();
  if (selected >= 0 && place[selected] >= 0)
    reveal(place[selected]);
  draw();
}

// ---- the table ----

let selected = -1; // record

function layout() {
  // As high as all records need, whatever is filtered.
  $('rows').style.maxHeight = N * ROW + 2 + 'px';
  $('spacer').style.height = Math.min(shown.length * ROW, TALL) + 'px';
  render();
}

// Place of the row that stands at the top; exact while all fit into TALL.
function topRow() {
  const box = $('rows'), room = shown.length * ROW - box.clientHeight;
  const scroll = Math.min(shown.length * ROW, TALL) - box.clientHeight;
  return scroll > 0 ? box.scrollTop / scroll * room / ROW : 0;
}

function toRow(row) {
  const box = $('rows'), room = shown.length * ROW - box.clientHeight;
  const scroll = Math.min(shown.length * ROW, TALL) - box.clientHeight;
  if (room > 0)
    box.scrollTop = row * ROW / room * scroll;
}

function marked(cell, value) {
  if (!search) {
    cell.textContent = value;
    return;
  }
  let from = 0;
  search.lastIndex = 0;
  for (let m; (m = search.exec(value));) {
    if (!m[0])
      break; // matches nothing, for ever
    cell.append(value.slice(from, m.index), make('mark', '', m[0]));
    from = m.index + m[0].length;
  }
  cell.append(value.slice(from));
}

function rowOf(at) {
  const i = shown[at], div = make('div', 'row');
  if (level[i] <= 4)
    div.className += level[i] < 4 ? ' l-bad' : ' l-warn';
  div.id = 'r' + i;
  div.dataset.at = at;
  div.role = 'row';
  div.ariaRowIndex = at + 1;
  div.ariaSelected = i === selected;
  const from = make('span', 'n'), what = make('span', 'x');
  marked(from, who[i] || '');
  marked(what, text[i].replaceAll('\n', ' ⏎ '));
  div.append(make('span', 't', seconds(time[i], 6)),
             make('span', 'n', data.lanes[ring[i]]),
             make('span', 'v', LEVELS[level[i]]), from, what);
  for (const cell of div.children)
    cell.role = 'gridcell';
  return div;
}

let paper = false;

function render() {
  const box = $('rows'), some = Math.ceil(box.clientHeight / ROW) + 1;
  const begin = paper ? Math.max(0, shown.length - PRINTED)
                      : Math.max(0, Math.floor(topRow()));
  const end = Math.min(shown.length, paper ? shown.length : begin + some);
  const made = [];
  for (let at = begin; at < end; at++)
    made.push(rowOf(at));
  $('window').replaceChildren(...made);
  // Where the rows stand within the row that is half out of view.
  $('window').style.top = box.scrollTop - (topRow() - begin) * ROW + 'px';
  if (selected >= 0)
    box.setAttribute('aria-activedescendant', 'r' + selected);
}

function reveal(at) {
  const box = $('rows'), fit = Math.floor(box.clientHeight / ROW);
  if (at < Math.ceil(topRow()) || at >= topRow() + fit)
    toRow(Math.max(0, at - Math.floor(fit / 2)));
  render();
}

function details(i) {
  const list = [['Time', seconds(time[i], 9)], ['Wall clock', wall(time[i])],
                ['CPU', data.lanes[ring[i]]], ['Kind', data.kinds[kind[i]]],
                ['Event', eventName(i)], ['Level', LEVELS[level[i]]],
                ['From', who[i]]];
  $('one').replaceChildren(make('dl', 'facts'), make('pre', '', text[i]));
  for (const [what, value] of list) {
    if (!value)
      continue;
    const div = make('div');
    div.append(make('dt', '', what), make('dd', '', value));
    $('one').firstChild.append(div);
  }
  $('one').hidden = false;
}

// Select record i, in both views.
function select(i) {
  selected = i;
  details(i);
  if (place[i] >= 0)
    reveal(place[i]);
  else
    render();
  if (time[i] < from || time[i] > to)
    show(time[i] - (to - from) / 2, time[i] + (to - from) / 2);
  else
    draw();
}

function step(by) {
  if (!shown.length)
    return;
  let at = selected >= 0 ? place[selected] : -1;
  if (at < 0)
    at = by < 0 ? shown.length : -1;
  at = Math.max(0, Math.min(shown.length - 1, at + by));
  select(shown[at]);
}

function rowKeys(e) {
  const page = Math.floor($('rows').clientHeight / ROW) - 1;
  const by = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, PageDown: page,
               PageUp: -page, Home: -Infinity, End: Infinity }[e.key];
  if (!by || e.ctrlKey || e.metaKey || e.altKey)
    return;
  e.preventDefault();
  step(by);
}

// ---- the timeline ----

let from = first, to = last; // what is in view
const GAP = 4; // px at both ends, so that the last mark is seen
// A step along the axis must change the number, also where a broken guest's
// times are beyond what a double counts in ns.
const NARROW = Math.max(100, 1e-12 * Math.max(Math.abs(first), last)); // ns
let slices = new Map(); // of each ring: { start, end, pid, comm }
let canvases = [];

// What ran: each switch ends what ran before it.  Before a ring's first event
// nobody recorded switches.
function makeSlices() {
  const at = new Map(), begun = new Map();
  for (let i = 0; i < N; i++) {
    if (event[i] >= 0 && !begun.has(ring[i]))
      begun.set(ring[i], time[i]);
    if (!sched[i])
      continue;
    const [prev, prevComm, next, nextComm] = sched[i], r = ring[i];
    if (!slices.has(r))
      slices.set(r, []);
    const before = at.get(r) ||
      { start: begun.get(r), pid: prev, comm: prevComm };
    slices.get(r).push({ ...before, end: time[i] });
    at.set(r, { start: time[i], pid: next, comm: nextComm });
  }
  for (const [r, open] of at)
    slices.get(r).push({ ...open, end: last });
}

function lane(name, r) {
  const div = make('div', 'lane'), box = make('div', 'draw');
  const canvas = make('canvas');
  div.append(make('span', 'name', name), box);
  box.append(canvas);
  if (r === undefined)
    div.className = 'lane axis';
  else
    div.dataset.ring = r;
  if (slices.has(r))
    div.classList.add('sched');
  $('lanes').append(div);
  canvases.push({ canvas, box, r });
}

const x = (ns, width) =>
  GAP + (ns - from) / (to - from) * (width - 2 * GAP);
const ns = (px, width) =>
  from + (px - GAP) / (width - 2 * GAP) * (to - from);

function prepare({ canvas, box }) {
  const scale = window.devicePixelRatio || 1;
  const width = box.clientWidth, height = box.clientHeight;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const c = canvas.getContext('2d');
  c.scale(scale, scale);
  c.font = '11px system-ui, sans-serif';
  c.textBaseline = 'middle';
  return [c, width, height];
}

function drawAxis(view, colour) {
  const [c, width, height] = prepare(view);
  const raw = (to - from) / Math.max(1, width / 90);
  const power = 10 ** Math.floor(Math.log10(Math.max(raw, 1)));
  const tick = power * [1, 2, 5, 10].find((n) => n * power >= raw);
  const places = Math.max(0, Math.min(9, 9 - Math.floor(Math.log10(tick))));
  const offset = Number(base % BigInt(Math.max(1, Math.round(tick))));
  c.fillStyle = colour('--soft');
  for (let t = Math.ceil((from + offset) / tick) * tick - offset; t <= to;
       t += tick) {
    c.fillRect(x(t, width), height - 5, 1, 5);
    const label = seconds(t, places);
    if (x(t, width) + 4 + c.measureText(label).width < width)
      c.fillText(label, x(t, width) + 4, height / 2);
  }
}

// A colour for each thread, the same in every view; idle has none.
function threadColour(pid, dark) {
  const hue = pid * 137.508 % 360; // the golden angle: neighbours differ
  return 'hsl(' + hue + ' 50% ' + (dark ? 38 : 74) + '%)';
}

function drawSlices(c, list, width, height, colour, dark) {
  let lastX = -1;
  for (const s of list) {
    if (s.end < from || s.start > to || !s.pid)
      continue;
    const a = Math.max(0, x(s.start, width)), b = x(s.end, width);
    const right = Math.min(width, Math.max(b, a + 0.5));
    if (right <= lastX)
      continue; // many in a pixel: the first one is seen
    lastX = Math.floor(a + 0.5);
    c.fillStyle = threadColour(s.pid, dark);
    c.fillRect(a, 2, right - a, height - 4);
    if (right - a < 40)
      continue;
    c.save();
    c.beginPath();
    c.rect(a, 0, right - a - 3, height);
    c.clip();
    c.fillStyle = colour('--ink');
    c.fillText(visible(s.comm || String(s.pid)), a + 4, height / 2);
    c.restore();
  }
}

// Errors in a band on top, warnings in one below it, and how many records of
// all kinds there are at the bottom: none of them hides another.
function drawMarks(c, r, width, y, height, colour) {
  const count = new Uint32Array(Math.ceil(width) + 2);
  const worst = new Uint8Array(count.length).fill(7);
  let most = 1;
  for (let i = 0; i < N; i++) {
    if (ring[i] !== r || place[i] < 0 || time[i] < from || time[i] > to)
      continue;
    const px = Math.round(x(time[i], width));
    most = Math.max(most, ++count[px]);
    if (event[i] < 0)
      worst[px] = Math.min(worst[px], level[i]);
  }
  const band = Math.floor(height / 3.5), rest = height - 2 * band;
  const bad = colour('--bad'), warn = colour('--warn'), tick = colour('--tick');
  const bar = (n) => Math.max(3, rest * Math.log1p(n) / Math.log1p(most));
  count.forEach((n, px) => {
    if (!n)
      return;
    c.fillStyle = tick;
    c.fillRect(px, y + height - bar(n), 1, bar(n));
    if (worst[px] > 4)
      return;
    c.fillStyle = worst[px] < 4 ? bad : warn;
    c.fillRect(px - 1, worst[px] < 4 ? y : y + band, 3, band - 1);
  });
}

function draw() {
  const style = getComputedStyle(document.documentElement);
  const known = new Map();
  const colour = (name) => {
    if (!known.has(name))
      known.set(name, style.getPropertyValue(name).trim());
    return known.get(name);
  };
  const dark = !paper && matchMedia('(prefers-color-scheme: dark)').matches;
  for (const view of canvases) {
    if (view.r === undefined) {
      drawAxis(view, colour);
      continue;
    }
    const [c, width, height] = prepare(view);
    const list = slices.get(view.r);
    const part = list ? height * 0.5 : 4;
    if (list)
      drawSlices(c, list, width, part, colour, dark);
    drawMarks(c, view.r, width, part, height - part - 2, colour);
  }
  const cursor = $('cursor');
  cursor.hidden = selected < 0 || time[selected] < from ||
    time[selected] > to;
  if (cursor.hidden)
    return;
  const box = canvases[0].box;
  cursor.style.left = box.offsetLeft + x(time[selected], box.clientWidth) +
    'px';
  cursor.style.height = $('lanes').scrollHeight + 'px';
}

function show(a, b) {
  const most = Math.max(last - first, 1);
  const wide = Math.min(Math.max(b - a, NARROW), most);
  from = Math.max(first, Math.min((a + b) / 2 - wide / 2, last - wide));
  to = from + wide;
  draw();
}

function zoom(by, around = (from + to) / 2) {
  show(around - (around - from) * by, around + (to - around) * by);
}

const pan = (part) => show(from + part * (to - from), to + part * (to - from));

// What the pointer is at: [ring, time, ns of a pixel].
function pointed(e) {
  const div = e.target.closest('.lane:not(.axis)');
  const box = canvases[0].box, rect = box.getBoundingClientRect();
  const t = ns(e.clientX - rect.left, rect.width);
  return [div ? +div.dataset.ring : -1, t, (to - from) / rect.width];
}

// The record that passes the filters and is nearest, within near ns.
function nearest(r, t, near) {
  let best = -1;
  for (const i of shown) {
    const far = Math.abs(time[i] - t);
    if ((r < 0 || ring[i] === r) && far <= near) {
      near = far;
      best = i;
    }
  }
  return best;
}

function tip(e) {
  const [r, t, pixel] = pointed(e), i = nearest(r, t, 3 * pixel);
  const s = (slices.get(r) || []).find((a) => a.start <= t && t < a.end);
  const lines = [];
  if (s)
    lines.push((s.pid ? visible(s.comm) + ' (' + s.pid + ')' : 'idle') +
               ' for ' + span(s.end - s.start));
  if (i >= 0)
    lines.push(seconds(time[i], 6) + ' ' + text[i].slice(0, 200));
  $('tip').hidden = r < 0 || !lines.length;
  $('tip').textContent = lines.join(' | ');
  $('tip').style.left = Math.min(e.clientX + 12, innerWidth - 420) + 'px';
  $('tip').style.top = e.clientY + 16 + 'px';
}

function pointer() {
  const box = $('lanes');
  let drag = null;
  box.addEventListener('pointerdown', (e) => {
    drag = { at: e.clientX, from, to, moved: false };
    if (e.button)
      drag = null;
  });
  box.addEventListener('pointermove', (e) => {
    if (!drag) {
      tip(e);
      return;
    }
    const by = e.clientX - drag.at;
    drag.moved ||= Math.abs(by) > 4;
    if (!drag.moved)
      return;
    box.setPointerCapture(e.pointerId);
    const part = by / canvases[0].box.clientWidth * (drag.to - drag.from);
    show(drag.from - part, drag.to - part);
  });
  box.addEventListener('pointerup', (e) => {
    const click = drag && !drag.moved;
    drag = null;
    if (!click)
      return;
    const [r, t] = pointed(e), i = nearest(r, t, Infinity);
    if (i >= 0)
      select(i);
  });
  box.addEventListener('pointerleave', () => { $('tip').hidden = true; });
  box.addEventListener('wheel', (e) => {
    if (!e.ctrlKey && !e.shiftKey && !e.altKey)
      return; // that scrolls the page
    e.preventDefault();
    zoom(Math.exp((e.deltaY || e.deltaX) / 300), pointed(e)[1]);
  }, { passive: false });
}

function laneKeys(e) {
  const todo = {
    '+': () => zoom(0.5), '=': () => zoom(0.5), '-': () => zoom(2),
    '0': () => show(first, last), ArrowLeft: () => pan(-0.2),
    ArrowRight: () => pan(0.2), ArrowDown: () => step(1),
    ArrowUp: () => step(-1), Home: () => show(first, first + to - from),
    End: () => show(last - (to - from), last),
    Enter: () => $('rows').focus(),
  }[e.key];
  if (!todo || e.ctrlKey || e.metaKey || e.altKey)
    return;
  e.preventDefault();
  todo();
}

// ---- all together ----

function onPaper(on) {
  paper = on;
  document.documentElement.classList.toggle('paper', on);
  $('spacer').hidden = on;
  if (on)
    document.querySelectorAll('details').forEach((d) => { d.open = true; });
  layout();
  draw();
}

function listen() {
  let wait;
  $('search').addEventListener('input', () => {
    clearTimeout(wait);
    wait = setTimeout(filter, 120);
  });
  $('search').addEventListener('keydown', (e) => {
    if (e.key === 'Escape' || e.key === 'Enter' || e.key === 'ArrowDown')
      $('rows').focus();
  });
  $('regex').addEventListener('change', filter);
  $('rows').addEventListener('scroll', render, { passive: true });
  $('rows').addEventListener('keydown', rowKeys);
  $('rows').addEventListener('click', (e) => {
    const div = e.target.closest('.row');
    if (div)
      select(shown[+div.dataset.at]);
  });
  $('lanes').addEventListener('keydown', laneKeys);
  pointer();
  $('closer').addEventListener('click', () => zoom(0.5));
  $('wider').addEventListener('click', () => zoom(2));
  $('whole').addEventListener('click', () => show(first, last));
  document.addEventListener('keydown', (e) => {
    if (e.key !== '/' || e.target.matches('input, select'))
      return;
    e.preventDefault();
    $('search').focus();
    $('search').select();
  });
  window.addEventListener('resize', () => { layout(); draw(); });
  window.addEventListener('beforeprint', () => onPaper(true));
  window.addEventListener('afterprint', () => onPaper(false));
  matchMedia('(prefers-color-scheme: dark)')
    .addEventListener('change', draw);
}

facts();
tables();
events();
const levels = boxes('Level', LEVELS, level);
const lanes = boxes('CPU', data.lanes, ring);
const kinds = boxes('Kind', data.kinds, kind);
makeSlices();
lane('');
data.lanes.forEach((name, r) =>
  (lanes.has(r) || data.cpus[r]) && lane(name, r));
listen();
filter();
toRow(shown.length); // the end is what a reader came for
render();
