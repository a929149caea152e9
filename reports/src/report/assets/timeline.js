'use strict';
// Draws a run. All data is in the page; whatever comes from it goes through textContent alone.
const run = JSON.parse(document.getElementById('data').textContent);
const SVG = 'http://www.w3.org/2000/svg';
const byId = (id) => document.getElementById(id);
const wholeRun = [0, Math.max(run.end, 1)];
const LEAST = 20000; // nanoseconds: no clock of a run is finer
let view = clamp(run.view.slice());
let chosen = null;
let width = 0;
let gutter = 0;
let drawn = []; // marks on the screen, in order of time, for the keys n and p

function make(name, attributes, parent, text) {
  const node = document.createElementNS(SVG, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}
function html(name, className, parent, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}
const x = (at) => gutter + (at - view[0]) / (view[1] - view[0]) * (width - gutter - 8);
const atX = (px) => view[0] + (px - gutter) / (width - gutter - 8) * (view[1] - view[0]);

// --- numbers for people -------------------------------------------------------------------
function seconds(at) {
  const micros = String(Math.floor(at / 1000)).padStart(7, '0');
  const cut = micros.length - 6;
  return micros.slice(0, cut) + '.' + micros.slice(cut, cut + 3) + ' ' + micros.slice(cut + 3) + ' s';
}
function span(ns) {
  const size = Math.abs(ns);
  if (size >= 1e9) return (ns / 1e9).toFixed(3) + ' s';
  if (size >= 1e6) return (ns / 1e6).toFixed(size < 1e7 ? 2 : 1) + ' ms';
  return (ns / 1e3).toFixed(1) + ' µs';
}
function relative(at) {
  if (!run.focus) return seconds(at);
  const delta = at - run.focus.at;
  return (delta < 0 ? '−' : '+') + span(Math.abs(delta));
}

// --- the view -----------------------------------------------------------------------------
function clamp([from, until]) {
  const length = Math.min(Math.max(until - from, LEAST), wholeRun[1]);
  const start = Math.min(Math.max(from, 0), wholeRun[1] - length);
  return [start, start + length];
}
let waiting = false;
function show(next) {
  view = clamp(next);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}
function zoom(factor, around) {
  const at = around === undefined ? (view[0] + view[1]) / 2 : around;
  show([at - (at - view[0]) * factor, at + (view[1] - at) * factor]);
}
function move(part) {
  const by = (view[1] - view[0]) * part;
  show([view[0] + by, view[1] + by]);
}
// To something short that is worth a closer look; else near, as close as it was.
function jump(at, until) {
  const length = view[1] - view[0];
  const lasts = until === undefined ? 0 : Math.max(until - at, 200000);
  const near = lasts ? Math.min(wholeRun[1], lasts * 4) : Math.max(length / 4, 20e6);
  show([at - near * (lasts ? .4 : .33), at + near * (lasts ? .6 : .67)]);
}

// --- drawing ------------------------------------------------------------------------------
const HEIGHTS = { steps: 22, role: 26, machine: 15, kernel: 15, lease: 15, port: 27, owner: 22,
  neighbour: 18, stream: 15 };
const nodeColour = (place) => 'var(--n' + (place % 6) + ')';
function groupName(group, kind) {
  if (kind === 'steps') return 'Steps';
  if (run.nodes.includes(group)) return 'Gateway ' + group;
  if (kind === 'owner') return 'Segment ' + group;
  return 'Host ' + group;
}
function place() {
  let y = 2;
  let group = null;
  for (const lane of run.lanes) {
    if (lane.group !== group) {
      y += group === null ? 0 : 8;
      lane.header = y + 15;
      y += 22;
      group = lane.group;
    }
    lane.y = y;
    lane.height = HEIGHTS[lane.kind] || 18;
    y += lane.height + 3;
  }
  return y + 4;
}
function steps() {
  const px = width < 700 ? 86 : 110;
  const rough = (view[1] - view[0]) / Math.max(1, (width - gutter) / px);
  const ten = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = [1, 2, 5, 10].map((m) => m * ten).find((it) => it >= rough);
  const zero = run.focus ? run.focus.at : 0;
  const ticks = [];
  for (let n = Math.ceil((view[0] - zero) / step); zero + n * step <= view[1]; n += 1) {
    ticks.push([zero + n * step, n * step]);
  }
  return { step, ticks };
}
function tick(delta, step) {
  const unit = step >= 1e9 ? [1e9, ' s'] : step >= 1e5 ? [1e6, ' ms'] : [1e3, ' µs'];
  const digits = Math.max(0, Math.ceil(-Math.log10(step / unit[0]) - 1e-9));
  const sign = run.focus && delta > 0 ? '+' : delta < 0 ? '−' : '';
  return sign + (Math.abs(delta) / unit[0]).toFixed(digits) + unit[1];
}
function draw() {
  width = byId('chart').parentElement.clientWidth;
  gutter = width < 700 ? 66 : 112;
  drawMap();
  const chart = byId('chart');
  const height = place();
  chart.replaceChildren();
  chart.setAttribute('height', height);
  const { step, ticks } = steps();
  drawAxis(ticks, step);
  for (const [at] of ticks) {
    make('line', { class: 'grid', x1: x(at), x2: x(at), y1: 0, y2: height }, chart);
  }
  const inner = make('svg', { x: gutter, y: 0, width: Math.max(1, width - gutter - 8), height }, chart);
  const plot = make('g', { transform: 'translate(' + -gutter + ' 0)' }, inner);
  drawn = [];
  for (const lane of run.lanes) drawLane(lane, chart, plot);
  drawShades(plot, height);
  drawn.sort((a, b) => a.mark.at - b.mark.at);
  byId('range').textContent = relative(view[0]) + ' … ' + relative(view[1]);
  document.documentElement.dataset.lanes = run.lanes.length;
}
function drawAxis(ticks, step) {
  const axis = byId('axis');
  axis.replaceChildren();
  axis.setAttribute('width', width);
  axis.setAttribute('height', 34);
  for (const [at, delta] of ticks) {
    const px = x(at);
    make('line', { class: 'rule', x1: px, x2: px, y1: 28, y2: 34 }, axis);
    const anchor = px > width - 40 ? 'end' : px < gutter + 20 ? 'start' : 'middle';
    make('text', { class: 'tick', x: px, y: 12, 'text-anchor': anchor }, axis, tick(delta, step));
    if (run.focus) {
      const digits = Math.min(6, Math.max(0, Math.ceil(9 - Math.log10(step) - 1e-9)));
      const clock = (at / 1e9).toFixed(digits) + ' s';
      make('text', { class: 'clock', x: px, y: 24, 'text-anchor': anchor }, axis, clock);
    }
  }
  make('line', { class: 'rule', x1: 0, x2: width, y1: 33.5, y2: 33.5 }, axis);
}
function drawLane(lane, chart, plot) {
  if (lane.header !== undefined) {
    const node = run.nodes.indexOf(lane.group);
    const group = make('g', {}, chart);
    if (node >= 0) {
      make('rect', { x: 12, y: lane.header - 10, width: 10, height: 10, rx: 3,
        style: 'fill:' + nodeColour(node) }, group);
    }
    make('text', { class: 'group', x: node >= 0 ? 28 : 12, y: lane.header }, group,
      groupName(lane.group, lane.kind));
  }
  const label = make('text', { class: 'name', x: 12, y: lane.y + lane.height / 2 + 4 }, chart,
    width < 700 && lane.name.length > 9 ? lane.name.slice(0, 8) + '…' : lane.name);
  make('title', {}, label, lane.hint);
  const box = make('g', { class: 'lane', 'data-kind': lane.kind }, plot);
  if (lane.kind !== 'steps') {
    make('rect', { class: 'track', x: gutter, y: lane.y, width: Math.max(1, width - gutter - 8),
      height: lane.height, rx: 3 }, box);
  }
  const calm = (bar) => !['contested', 'outage'].includes(bar.kind);
  for (const bar of lane.bars.filter(calm)) drawBar(lane, bar, box);
  for (const bar of lane.bars.filter((it) => !calm(it))) drawBar(lane, bar, box);
  drawMarks(lane, box);
}
function drawBar(lane, bar, box) {
  if (bar.until < view[0] || bar.from > view[1]) return;
  const loud = ['contested', 'outage', 'mend', 'act', 'undone', 'fault'].includes(bar.kind);
  const from = Math.max(x(bar.from), gutter - 6);
  const until = Math.min(x(bar.until), width + 6);
  const size = Math.max(until - from, loud ? 4 : 1);
  const thin = lane.kind === 'port' ? 6 : 0;
  const node = make('rect', { class: 'bar b-' + bar.kind, x: from, y: lane.y + 1,
    width: size, height: thin || lane.height - 2, rx: Math.min(3, size / 2) }, box);
  if (bar.node !== undefined) node.style.setProperty('--node', nodeColour(bar.node));
  if (bar.kind === 'moving') {
    node.style.fill = bar.node === undefined ? 'var(--quiet)' : nodeColour(bar.node);
    node.style.fillOpacity = .6;
  }
  if (chosen === bar) node.classList.add('chosen');
  make('title', {}, node, bar.text + ' · ' + span(bar.until - bar.from));
  node.addEventListener('click', () => choose(bar, lane));
  const instant = bar.until === bar.from && lane.kind === 'steps';
  const room = instant ? width - from - 14 : size - 10;
  const text = lane.kind === 'steps' ? bar.text.split(': ')[0] : bar.text;
  if (!thin && lane.height > 14 && (room > text.length * 6.1)) {
    const solid = ['active', 'owns', 'contested', 'outage'].includes(bar.kind);
    make('text', { class: 'in-bar' + (solid ? ' on-fill' : ''), y: lane.y + lane.height / 2 + 4,
      x: Math.max(from, gutter) + (instant ? 9 : 6) }, box, text);
  }
}
const SHAPES = { alert: 'diamond', claim: 'square', offer: 'square', prepare: 'square',
  ready: 'square', released: 'square', request: 'square', decline: 'square' };
function drawMarks(lane, box) {
  if (!lane.marks) return;
  const heaps = new Map();
  for (const mark of lane.marks) {
    if (mark.at < view[0] || mark.at > view[1]) continue;
    const row = mark.out === undefined ? 0 : mark.out ? 1 : 2;
    const key = mark.kind + row;
    const last = heaps.get(key);
    const px = x(mark.at);
    if (last && px - last.px < 7) {
      last.all.push(mark);
      continue;
    }
    const heap = { px, row, all: [mark] };
    heaps.set(key, heap);
    heaps.set(key + '@' + px, heap);
  }
  for (const [key, heap] of heaps) if (key.includes('@')) drawHeap(lane, heap, box);
}
function drawHeap(lane, heap, box) {
  const mark = heap.all[0];
  const y = lane.y + (heap.row === 0 ? lane.height / 2 : heap.row === 1 ? 12.5 : 21);
  const big = heap.all.length > 1 ? 4.2 : 3.4;
  const common = { class: 'mark k-' + mark.kind, 'data-kind': mark.kind };
  let node;
  if (SHAPES[mark.kind] === 'diamond') {
    const d = `M${heap.px} ${y - 6}l6 6l-6 6l-6 -6z`;
    node = make('path', { ...common, d }, box);
  } else if (SHAPES[mark.kind] === 'square') {
    node = make('rect', { ...common, x: heap.px - big, y: y - big, width: 2 * big,
      height: 2 * big, rx: 1 }, box);
  } else {
    node = make('circle', { ...common, cx: heap.px, cy: y, r: big }, box);
  }
  if (heap.all.includes(chosen)) node.classList.add('chosen');
  const more = heap.all.length > 1 ? ' · and ' + (heap.all.length - 1) + ' more' : '';
  make('title', {}, node, mark.text + more);
  node.addEventListener('click', () => choose(mark, lane, heap.all));
  drawn.push({ mark, lane, all: heap.all });
}
function faults() {
  const steps = run.lanes.filter((lane) => lane.kind === 'steps');
  const bars = steps.flatMap((lane) => lane.bars.map((bar) => [bar, lane]));
  return bars.filter(([bar]) => bar.until >= view[0] && bar.from <= view[1] && bar.kind !== 'undone');
}
function shade(spans, plot, y, height, first) {
  let last = -1;
  for (const [begin, end] of spans.sort((a, b) => a[0] - b[0])) {
    const from = Math.max(begin, last);
    if (end - from > 1) {
      const rect = make('rect', { class: 'shade', x: from, y, width: end - from, height });
      plot.insertBefore(rect, first ? plot.firstChild : null);
    }
    last = Math.max(last, end);
  }
}
function drawShades(plot, height) {
  const touched = new Map();
  const whole = [];
  for (const [bar, lane] of faults()) {
    if (bar.kind === 'fault') {
      const px = [Math.max(x(bar.from), gutter), Math.min(x(bar.until), width)];
      whole.push(px);
      for (const at of bar.touches || []) touched.set(at, [...(touched.get(at) || []), px]);
    }
    if (bar.from >= view[0]) {
      make('line', { class: 'moment ' + bar.kind, x1: x(bar.from), x2: x(bar.from),
        y1: lane.y + lane.height, y2: height }, plot);
    }
  }
  shade(whole, plot, 0, height, true);
  for (const [at, spans] of touched) {
    shade(spans, plot, run.lanes[at].y, run.lanes[at].height, false);
  }
}
function drawMap() {
  const map = byId('map');
  map.replaceChildren();
  const size = width - 24;
  const px = (at) => 12 + at / wholeRun[1] * size;
  make('rect', { class: 'track', x: 12, y: 4, width: Math.max(1, size), height: 36, rx: 4 }, map);
  const rows = run.lanes.filter((lane) => lane.kind === 'role');
  const high = Math.min(9, 30 / Math.max(1, rows.length));
  const thin = (bar, y, height, className) => {
    const rect = { class: 'bar ' + className, x: px(bar.from), y, height,
      width: Math.max(1.5, px(bar.until) - px(bar.from)) };
    const node = make('rect', rect, map);
    if (bar.node !== undefined) node.style.setProperty('--node', nodeColour(bar.node));
  };
  rows.forEach((lane, row) => {
    for (const bar of lane.bars) {
      if (bar.kind !== 'moving') thin(bar, 7 + row * high, high - 1.5, 'b-' + bar.kind);
    }
  });
  for (const lane of run.lanes) {
    for (const bar of lane.bars) {
      if (lane.kind === 'steps') thin(bar, 4, 36, bar.kind === 'fault' ? 'shade' : 'b-' + bar.kind);
      if (bar.kind === 'outage' || bar.kind === 'contested') thin(bar, 34, 6, 'b-' + bar.kind);
    }
  }
  make('rect', { class: 'window', x: px(view[0]), y: 2, rx: 3, height: 40,
    width: Math.max(3, px(view[1]) - px(view[0])) }, map);
}
