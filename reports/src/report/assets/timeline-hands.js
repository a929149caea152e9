// --- what a click shows ------------------------------------------------------------------
const HEAP_SHOWN = 40;
function row(list, name, value) {
  html('dt', '', list, name);
  html('dd', '', list, value);
}
function choose(it, lane, heap) {
  chosen = it;
  const box = byId('details');
  box.replaceChildren();
  html('h2', '', box, it.text);
  const list = document.createElement('dl');
  const lasts = it.from !== undefined;
  const at = lasts ? it.from : it.at;
  const after = run.focus ? ' (' + relative(at) + ' from ' + run.focus.name + ')' : '';
  row(list, 'When', seconds(at) + after);
  if (lasts) {
    row(list, 'Until', seconds(it.until) + (run.focus ? ' (' + relative(it.until) + ')' : ''));
    row(list, 'Lasts', span(it.until - it.from));
  }
  row(list, 'Where', [lane.group, lane.name].filter(Boolean).join(', '));
  if (it.out !== undefined) row(list, 'Way', it.out ? 'out' : 'in');
  if (it.frame !== undefined) row(list, 'Frame', it.frame + ' in run.pcapng');
  if (it.line !== undefined) row(list, 'Trace', 'line ' + it.line);
  for (const [name, value] of it.fields || []) row(list, name, value);
  if (it.why) html('p', 'why', box, it.why);
  box.appendChild(list);
  html('p', 'soft', box, lane.hint);
  if (heap && heap.length > 1) {
    html('p', 'soft', box, heap.length + ' points lie here; zoom in to tell them apart.');
    const others = html('ul', 'plain', box);
    for (const other of heap.slice(0, HEAP_SHOWN)) {
      const item = html('li', '', others);
      const button = html('button', '', item, relative(other.at) + '  ' + other.text);
      button.addEventListener('click', () => choose(other, lane, heap));
    }
  }
  draw();
}
function step(by) {
  const marks = drawn.map((it) => it.mark);
  const now = marks.indexOf(chosen);
  const next = drawn[now < 0 ? (by > 0 ? 0 : marks.length - 1) : now + by];
  if (next) choose(next.mark, next.lane, next.all);
}

// --- what stands around the chart ---------------------------------------------------------
function figure(value, text, bad) {
  const box = html('div', 'card figure' + (bad ? ' bad' : ''), byId('figures'));
  html('b', '', box, value);
  html('span', '', box, text);
}
function figures() {
  const lanes = (kind) => run.lanes.filter((lane) => lane.kind === kind);
  const since = run.focus ? run.focus.at : 0;
  const after = (bars) => bars.filter((bar) => bar.until >= since);
  const longest = (bars) => bars.reduce((most, bar) => Math.max(most, bar.until - bar.from), 0);
  const outages = lanes('stream').map((lane) =>
    [longest(after(lane.bars).filter((bar) => bar.kind === 'outage')), lane.name]);
  const worst = outages.reduce((a, b) => (b[0] > a[0] ? b : a), [0, '']);
  figure(worst[0] ? span(worst[0]) : 'none', worst[0]
    ? 'longest interruption (' + worst[1] + ')' : 'no probe was lost', false);
  const twice = lanes('owner').map((lane) =>
    [longest(lane.bars.filter((bar) => bar.kind === 'contested')), lane.group]);
  const two = twice.reduce((a, b) => (b[0] > a[0] ? b : a), [0, '']);
  const wrong = run.findings.some((it) =>
    it.oracle === 'at_most_one_active' && it.verdict !== 'pass');
  const allowed = run.findings.length > 0 && !wrong;
  figure(two[0] ? span(two[0]) : 'never', two[0]
    ? 'two owners of one address, on ' + two[1] + (allowed ? ': no longer than allowed' : '')
    : 'were there two owners of one address', two[0] > 0 && !allowed);
  const taken = lanes('role').flatMap((lane) => lane.bars.map((bar) => [bar, lane.group]))
    .filter(([bar]) => bar.kind === 'active' && bar.from >= since)
    .sort((a, b) => a[0].from - b[0].from)[0];
  figure(taken && run.focus ? relative(taken[0].from) : 'stayed', taken && run.focus
    ? 'until ' + taken[1] + ' was active, from ' + run.focus.name : 'the role did not move');
  const bad = run.findings.filter((it) => it.verdict !== 'pass').length;
  const good = run.findings.length - bad;
  figure(good + ' of ' + run.findings.length, 'judgements pass', bad > 0);
}
function findings() {
  const list = byId('findings');
  const rank = { fail: 0, unknown: 1, pass: 2 };
  const sorted = run.findings.slice().sort((a, b) => rank[a.verdict] - rank[b.verdict]);
  for (const it of sorted) {
    const item = html('li', '', list);
    html('span', 'chip ' + it.verdict, item, it.verdict);
    const text = html('div', '', item);
    html('b', '', text, it.oracle + (it.scope ? ' (' + it.scope + ')' : ''));
    html('span', 'soft', text, it.text ? '  ' + it.text : '');
    if (it.at) {
      const button = html('button', '', text, 'look');
      button.style.marginLeft = '8px';
      button.addEventListener('click', () => jump(it.at[0], it.at[1]));
    }
  }
  byId('findings-card').hidden = sorted.length === 0;
}
function moments() {
  for (const it of run.jumps) {
    const button = html('button', '', html('li', '', byId('moments')));
    html('time', '', button, relative(it.at));
    html('span', 'j-' + it.kind, button, it.text);
    const close = ['finding', 'contested', 'outage'].includes(it.kind);
    button.addEventListener('click', () => jump(it.at, close ? it.until : undefined));
  }
}
function legend() {
  const kinds = new Set(run.lanes.flatMap((lane) => (lane.marks || []).map((mark) => mark.kind)));
  const hand = ['prepare', 'ready', 'offer', 'released', 'request', 'decline', 'let-go'];
  const entries = [['advert', 'advertisement'], ['probe', 'probe, answer'], ['claim', 'claim'],
    ['arp', 'ARP, ND'], ['announce', 'announcement'], ['alert', 'alert'],
    ['hook', 'hook']];
  const shown = entries.filter(([kind]) => kinds.has(kind));
  if (hand.some((kind) => kinds.has(kind))) shown.push(['prepare', 'hand-over']);
  const box = byId('legend');
  for (const [kind, text] of shown) {
    const item = html('span', '', box);
    const svg = make('svg', { width: 12, height: 12 }, item);
    if (SHAPES[kind] === 'square') {
      make('rect', { class: 'mark k-' + kind, x: 2, y: 2, width: 8, height: 8, rx: 1 }, svg);
    } else {
      make('circle', { class: 'mark k-' + kind, cx: 6, cy: 6, r: 4.5 }, svg);
    }
    item.appendChild(document.createTextNode(text));
  }
  const faults = html('span', '', box);
  const svg = make('svg', { width: 20, height: 12 }, faults);
  make('rect', { class: 'bar b-fault', x: .5, y: .5, width: 19, height: 11, rx: 2 }, svg);
  faults.appendChild(document.createTextNode('fault, until undone'));
  html('span', '', box, 'upper points leave the port, lower ones arrive');
}

// --- hands --------------------------------------------------------------------------------
const pointers = new Map();
let pinch = 0;
function hands() {
  const chart = byId('chart');
  const local = (event) => event.clientX - chart.getBoundingClientRect().left;
  chart.addEventListener('wheel', (event) => {
    const wanted = event.ctrlKey || event.metaKey || document.activeElement === chart;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
      event.preventDefault();
      move((event.deltaX || event.deltaY) / 800);
    } else if (wanted) {
      event.preventDefault();
      zoom(Math.pow(1.0022, event.deltaY), atX(local(event)));
    }
  }, { passive: false });
  chart.addEventListener('pointerdown', (event) => pointers.set(event.pointerId, local(event)));
  for (const over of ['pointerup', 'pointercancel']) {
    window.addEventListener(over, (event) => { pointers.delete(event.pointerId); pinch = 0; });
  }
  window.addEventListener('pointermove', (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = pointers.get(event.pointerId);
    pointers.set(event.pointerId, local(event));
    const all = [...pointers.values()];
    if (all.length === 1) {
      if (before !== all[0]) move((before - all[0]) / (width - gutter));
    } else {
      const apart = Math.max(8, Math.abs(all[0] - all[1]));
      if (pinch) zoom(pinch / apart, atX((all[0] + all[1]) / 2));
      pinch = apart;
    }
  });
  chart.addEventListener('dblclick', (event) => zoom(.4, atX(local(event))));
  const map = byId('map');
  const toMap = (event) => {
    if (event.type === 'pointermove' && !(event.buttons & 1)) return;
    const box = map.getBoundingClientRect();
    const at = (event.clientX - box.left - 12) / (box.width - 24) * wholeRun[1];
    const half = (view[1] - view[0]) / 2;
    show([at - half, at + half]);
  };
  map.addEventListener('pointerdown', toMap);
  map.addEventListener('pointermove', toMap);
}
function keys() {
  const acts = {
    '+': () => zoom(.6), '=': () => zoom(.6), '-': () => zoom(1 / .6), '_': () => zoom(1 / .6),
    ArrowLeft: () => move(-.2), ArrowRight: () => move(.2), f: () => show(wholeRun),
    0: () => show(wholeRun), s: () => show(run.view), n: () => step(1), p: () => step(-1),
  };
  byId('chart').addEventListener('keydown', (event) => {
    const act = acts[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  const buttons = { in: '+', out: '-', left: 'ArrowLeft', right: 'ArrowRight', story: 's', fit: 'f' };
  for (const id in buttons) byId(id).addEventListener('click', acts[buttons[id]]);
}
// timeline.html#frame=12 and #line=34 open at that frame, or that line of the trace.
function named() {
  const [, what, number] = /^#(frame|line)=(\d+)$/.exec(location.hash) || [];
  if (!what) return;
  for (const lane of run.lanes) {
    const it = [...lane.bars, ...(lane.marks || [])].find((one) => one[what] === Number(number));
    if (!it) continue;
    const at = it.at === undefined ? it.from : it.at;
    if (at < view[0] || at > view[1]) jump(at);
    choose(it, lane);
    return;
  }
}
function begin() {
  byId('app').hidden = false;
  figures();
  findings();
  moments();
  legend();
  for (const text of run.told) html('li', '', byId('told'), text);
  byId('told-card').hidden = run.told.length === 0;
  const details = byId('details');
  html('h2', '', details, 'Details');
  html('p', 'soft', details, 'Click a span or a point. On the chart: + and − zoom, arrows move, '
    + 'n and p go from point to point, s shows the story, f the whole run; with the chart '
    + 'chosen the wheel zooms.');
  hands();
  keys();
  draw();
  named();
  window.addEventListener('hashchange', named);
  new ResizeObserver(() => show(view)).observe(byId('chart').parentElement);
  document.documentElement.dataset.ready = 'yes';
}
begin();
