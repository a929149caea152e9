'use strict';
// Draws a campaign. All data is in the page; whatever comes from it goes through textContent alone.
const all = JSON.parse(document.getElementById('data').textContent);
const SVG = 'http://www.w3.org/2000/svg';
const byId = (id) => document.getElementById(id);
const ROWS_MAX = 400;
const RANK = { fail: 0, unknown: 1, pass: 2 };

function html(name, className, parent, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}
const ms = (value) => (value === undefined || value === null ? '–' : value.toFixed(1) + ' ms');

function spark(values, parent) {
  const known = values.filter((it) => typeof it === 'number');
  if (known.length < 2) return;
  const [width, height] = [150, 22];
  const most = Math.max(...known, 0.001);
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'spark');
  svg.setAttribute('width', width);
  svg.setAttribute('height', height);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', 'from ' + ms(Math.min(...known)) + ' to ' + ms(most));
  const x = (at) => 3 + at / Math.max(1, values.length - 1) * (width - 6);
  const y = (value) => height - 3 - value / most * (height - 6);
  let d = '';
  values.forEach((value, at) => {
    if (typeof value !== 'number') return;
    d += (d ? 'L' : 'M') + x(at).toFixed(1) + ' ' + y(value).toFixed(1);
  });
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', d);
  svg.appendChild(path);
  const worst = values.indexOf(most);
  if (worst >= 0) {
    const dot = document.createElementNS(SVG, 'circle');
    dot.setAttribute('cx', x(worst));
    dot.setAttribute('cy', y(most));
    dot.setAttribute('r', 2.2);
    svg.appendChild(dot);
  }
  parent.appendChild(svg);
}
function groups() {
  const found = new Map();
  for (const run of all.runs) {
    const key = run.w + '/' + run.s;
    if (!found.has(key)) found.set(key, { key, s: run.s, w: run.w, runs: [], v: 'pass' });
    const group = found.get(key);
    group.runs.push(run);
    if (RANK[run.v] < RANK[group.v]) group.v = run.v;
  }
  return [...found.values()].sort((a, b) => RANK[a.v] - RANK[b.v]);
}
function median(values) {
  const sorted = values.filter((it) => typeof it === 'number').sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}
const hit = (text, verdict) => {
  const words = byId('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = byId('verdict').value;
  return (!wanted || wanted === verdict) && words.every((word) => text.includes(word));
};
function name(run, parent) {
  if (!run.at) return html('span', '', parent, run.s);
  const link = html('a', '', parent, run.s);
  link.href = run.at;
  return link;
}
function draw() {
  const body = byId('scenarios').tBodies[0];
  body.replaceChildren();
  for (const group of groups()) {
    if (!hit(group.key.toLowerCase(), group.v)) continue;
    const row = html('tr', '', body);
    html('span', 'chip ' + group.v, html('td', '', row), group.v);
    const linked = group.runs.filter((run) => run.at);
    name(linked.find((run) => run.v !== 'pass') || linked[0] || group, html('td', '', row));
    html('td', '', row, group.w);
    const outages = group.runs.map((run) => run.o);
    html('td', 'num opt', row, String(group.runs.length));
    html('td', 'num opt', row, ms(median(outages)));
    const known = outages.filter((it) => typeof it === 'number');
    html('td', 'num', row, ms(known.length ? Math.max(...known) : undefined));
    spark(outages, html('td', 'opt', row));
    if (all.campaigns.length > 1) {
      spark(all.campaigns.map((it) => it.worst[group.key]), html('td', 'opt', row));
    }
  }
  const rows = all.runs.filter((run) => hit((run.w + '/' + run.s + ' ' + run.n).toLowerCase(), run.v))
    .sort((a, b) => RANK[a.v] - RANK[b.v]);
  const runs = byId('runs').tBodies[0];
  runs.replaceChildren();
  for (const run of rows.slice(0, ROWS_MAX)) {
    const row = html('tr', '', runs);
    html('span', 'chip ' + run.v, html('td', '', row), run.v);
    name(run, html('td', '', row));
    html('td', '', row, run.w);
    html('td', 'num', row, String(run.n));
    html('td', 'num', row, ms(run.o));
  }
  byId('count').textContent = rows.length > ROWS_MAX
    ? ROWS_MAX + ' of ' + rows.length + ' runs shown' : rows.length + ' runs';
}
function figure(value, text, bad) {
  const box = html('div', 'card figure' + (bad ? ' bad' : ''), byId('figures'));
  html('b', '', box, value);
  html('span', '', box, text);
}
function begin() {
  byId('app').hidden = false;
  const count = (verdict) => all.runs.filter((run) => run.v === verdict).length;
  figure(String(count('pass')), 'passed', false);
  figure(String(count('fail')), 'failed', count('fail') > 0);
  figure(String(count('unknown')), 'unknown: evidence is missing', false);
  const last = all.campaigns[all.campaigns.length - 2];
  figure(String(all.not_run.length), 'not run' + (last
    ? '; the campaign before passed ' + last.passed + ' and failed ' + last.failed : ''), false);
  for (const it of all.impossible) {
    html('li', '', byId('rest'), it.scenario + ', which no protocol can end well: ' + (it.seed === null
      ? 'passed everywhere, which theory says it cannot' : 'fails at seed ' + it.seed + ' as theory says'));
  }
  for (const it of all.not_run) {
    html('li', '', byId('rest'), (it.scenario || it.world) + ' was not run in ' + it.world + ': ' + it.reason);
  }
  byId('rest-card').hidden = all.impossible.length + all.not_run.length === 0;
  for (const cell of document.querySelectorAll('.past')) cell.hidden = all.campaigns.length < 2;
  byId('filter').addEventListener('input', draw);
  byId('verdict').addEventListener('change', draw);
  draw();
  document.documentElement.dataset.ready = 'yes';
}
begin();
