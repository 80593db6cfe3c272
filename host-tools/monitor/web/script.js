// SPDX-License-Identifier: GPL-2.0-or-later
// script.js - keeps an open page fresh.
//
// What the server sends is data: it becomes text (textContent), class names
// and links to this server, never markup.  Without this file the same pages
// work, and load themselves anew.
'use strict';

const LINES = 2000; // kept on the page
const live = document.getElementById('live');
const log = document.getElementById('log');
const said = document.getElementById('said');
const link = document.getElementById('link');
let streams = [];

function fill(td, [text, cls, href]) {
  td.className = cls;
  const inner = document.createElement(href.startsWith('/') ? 'a' : 'span');
  if (inner.tagName === 'A')
    inner.href = href;
  inner.textContent = text;
  td.replaceChildren(inner);
}

// The row of this key, made where it belongs if it is new.
function place(body, key, sorted, before) {
  for (const tr of body.rows)
    if (tr.dataset.key === key)
      return tr;
  const tr = document.createElement('tr');
  tr.dataset.key = key;
  if (sorted)
    before = [...body.rows].find((other) => other.dataset.key > key);
  body.insertBefore(tr, before || null);
  return tr;
}

function update(tr, cells, table) {
  const fresh = !tr.cells.length;
  cells.forEach((cell, i) => {
    let td = tr.cells[i];
    if (!td) {
      td = document.createElement(i ? 'td' : 'th');
      if (!i)
        td.scope = 'row';
      tr.append(td);
    }
    const changed = td.textContent !== cell[0];
    if (!changed && td.className === cell[1] && !fresh)
      return;
    fill(td, cell);
    if (table === 'guests' && changed && cell[1].startsWith('state')) {
      tr.classList.remove('changed');
      void tr.offsetWidth; // starts the animation again
      tr.classList.add('changed');
      said.textContent = tr.dataset.key + ' is ' + cell[0];
    }
  });
}

function rows(message) {
  const { table, whole, rows } = JSON.parse(message.data);
  const body = document.getElementById(table)?.tBodies[0];
  if (!body)
    return;
  const keys = new Set(rows.map((row) => row.key));
  if (whole)
    [...body.rows].filter((tr) => !keys.has(tr.dataset.key))
        .forEach((tr) => tr.remove());
  rows.forEach((row, i) => {
    const tr = place(body, row.key, table === 'guests', body.rows[i]);
    update(tr, row.cells, table);
  });
}

function divider(cls, text) {
  const div = document.createElement('div');
  div.className = cls;
  div.textContent = text;
  log.append(div);
}

function lines(message, begin) {
  const bottom = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  if (begin) {
    log.replaceChildren();
    delete log.dataset.boot;
  }
  for (const [boot, cls, stamp, text] of JSON.parse(message.data)) {
    if (log.dataset.boot !== String(boot))
      divider('boot', 'boot ' + boot);
    log.dataset.boot = boot;
    const div = document.createElement('div');
    const time = document.createElement('span');
    div.className = cls;
    time.className = 't';
    time.textContent = stamp;
    div.append(time, ' ' + text);
    log.append(div);
  }
  while (log.childElementCount > LINES)
    log.firstElementChild.remove();
  if (bottom || begin)
    log.scrollTop = log.scrollHeight;
}

function listen(url) {
  const stream = new EventSource(url);
  stream.onopen = () => {
    link.textContent = 'live';
    link.className = 'good';
  };
  stream.onerror = () => {
    link.textContent = 'no connection';
    link.className = 'bad';
    if (stream.readyState === EventSource.CLOSED)
      setTimeout(restart, 5000); // refused: it does not try again by itself
  };
  streams.push(stream);
  return stream;
}

// A hidden tab follows nothing: browsers have few connections to a server.
function restart() {
  streams.forEach((stream) => stream.close());
  streams = [];
  if (document.hidden)
    return;
  if (live)
    listen(live.dataset.events).onmessage = rows;
  if (log) {
    const tail = listen(log.dataset.tail);
    tail.addEventListener('begin', (message) => lines(message, true));
    tail.addEventListener('lines', (message) => lines(message, false));
    tail.addEventListener('missed', (message) =>
      divider('missed', message.data + ' records were overwritten before ' +
              'they could be shown'));
  }
}

document.addEventListener('visibilitychange', restart);
if (log)
  log.scrollTop = log.scrollHeight;
restart();
