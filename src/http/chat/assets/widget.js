// The chat widget: one script tag, no framework, nothing fetched but from its own daemon. Styles live in a shadow root, so
// that the page and the widget cannot break each other. Everything shown is built as nodes, never from markup.
(async function (cfg) {
  'use strict';
  const tag = document.currentScript;
  if (!tag) return;
  const base = tag.src.replace(/\/widget\.js.*$/, '');
  const loaded = window.SwitchboardChats ||= {};
  if (loaded[base]) return;
  loaded[base] = true;
  const opt = (name, other) => tag.dataset[name] ?? other;

  const lang = [opt('lang'), cfg.lang, document.documentElement.lang, navigator.language, 'en']
    .map(l => (l || '').slice(0, 2).toLowerCase()).find(l => ['en', 'de', 'fr', 'es', 'pl'].includes(l));
  const words = lang === 'en' ? {} : await fetch(base + '/words.json').then(r => r.json()).catch(() => ({}));
  const [TITLE, GREETING, OPEN, CLOSE, WRITE, SEND, ATTACH, CONNECTING, OFFLINE, SENDING, SENT, FAILED, RETRY, REMOVE, TYPING,
    AUTO, QUEUE, UNREAD, LONG, LARGE, KIND, UPLOAD, REFUSED, YOU, SUPPORT, DOWNLOAD, WAITING, AWAY] = words[lang] || [
    'Chat with us', 'Hello! How can we help you?', 'Open chat', 'Close chat', 'Write a message', 'Send', 'Attach a file', 'Connecting…',
    'You are offline. Your messages will be sent when you are back.', 'Sending…', 'Sent', 'Not sent', 'Try again', 'Remove', 'is typing…', 'Automatic reply', 'You are number {} in the queue',
    '{} unread', 'Too long: at most {} characters', 'The file is too large (at most {} MB)', 'This kind of file is not accepted', 'The file could not be sent', 'The chat is not available on this page', 'You', 'Support', 'Download {}', 'Waiting to be sent', 'We cannot be reached right now. Your messages will be sent as soon as we are back.'];
  const fill = (text, value) => text.replace('{}', value);
  const title = opt('title', cfg.title) || TITLE;

  // --- What outlives the page. Where storage is forbidden, memory has to do.
  const KEY = 'switchboard:' + base;
  let memory = {};
  const kept = () => {
    try { return JSON.parse(localStorage.getItem(KEY)) || memory; } catch { return memory; }
  };
  const keep = change => {
    // Read again each time: another tab may have written.
    memory = Object.assign({}, kept(), change(kept()));
    try { localStorage.setItem(KEY, JSON.stringify(memory)); } catch { /* memory it is */ }
  };
  const outbox = () => kept().outbox || {};

  // --- Elements
  const set = (el, props) => {
    for (const [k, v] of Object.entries(props || {})) {
      if (k.startsWith('on')) el.addEventListener(k.slice(2), v);
      else if (v !== undefined && v !== false) el.setAttribute(k, v === true ? '' : v);
    }
    return el;
  };
  const h = (name, props, ...children) => {
    const el = set(document.createElement(name), props);
    el.append(...children.filter(c => c != null && c !== false));
    return el;
  };
  const icon = path => {
    const ns = n => document.createElementNS('http://www.w3.org/2000/svg', n);
    const svg = set(ns('svg'), { viewBox: '0 0 24 24', width: 24, height: 24, 'aria-hidden': 'true' });
    svg.append(set(ns('path'), { d: path, fill: 'none', stroke: 'currentColor', 'stroke-width': 2, 'stroke-linecap': 'round', 'stroke-linejoin': 'round' }));
    return svg;
  };

  const CSS_TEXT = `
:host{all:initial!important;--bg:#fff;--fg:#1b1d22;--dim:#5b6068;--line:#dfe2e7;--them:#f0f2f5;--bad:#b3261e}
.w{color-scheme:light dark;font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
@media (prefers-color-scheme:dark){:host{--bg:#191b1f;--fg:#eceef1;--dim:#a3a9b3;--line:#353a42;--them:#282c33;--bad:#ff9b93}}
*{box-sizing:border-box}
button{font:inherit;color:inherit;background:none;border:0;cursor:pointer;padding:0}
:focus-visible{outline:2px solid var(--fg);outline-offset:2px}
[hidden]{display:none!important}
.launch,.panel{position:fixed;bottom:24px;z-index:2147483000;right:24px}
.left .launch,.left .panel{right:auto;left:24px}
.launch{width:56px;height:56px;border-radius:28px;background:var(--accent);color:var(--on);display:grid;place-items:center;box-shadow:0 2px 12px #0005}
.launch svg{width:28px;height:28px}
.launch:hover,.send:hover{filter:brightness(1.08)}
.badge{position:absolute;top:-4px;right:-4px;min-width:22px;height:22px;padding:0 6px;border-radius:11px;background:#b3261e;color:#fff;font-size:13px;line-height:22px;text-align:center}
.panel{width:376px;height:min(616px,calc(100vh - 48px));background:var(--bg);color:var(--fg);border:1px solid var(--line);border-radius:16px;box-shadow:0 8px 40px #0004;display:flex;flex-direction:column;overflow:hidden;animation:up .16s ease-out}
@keyframes up{from{opacity:0;transform:translateY(12px)}}
header{display:flex;align-items:center;gap:8px;padding:12px 8px 12px 16px;background:var(--accent);color:var(--on)}
.head{flex:1;min-width:0;overflow-wrap:anywhere}
h2{font-size:16px;font-weight:600;margin:0}
.by{font-size:13px}
header :focus-visible{outline-color:var(--on)}
.icon{width:40px;height:40px;border-radius:12px;display:grid;place-items:center;flex:none}
.log{flex:1;overflow-y:auto;padding:16px 16px 4px;scrollbar-width:thin;scrollbar-color:var(--line) transparent;display:flex;flex-direction:column;gap:4px;overscroll-behavior:contain}
.greet{color:var(--dim);margin:0 0 12px;white-space:pre-wrap}
.m{max-width:84%;display:flex;flex-direction:column;align-items:flex-start;align-self:flex-start;margin-top:8px}
.m.same{margin-top:0}.m.same .who{display:none}
.me{align-self:flex-end;align-items:flex-end}
.who,.state{font-size:12.5px;color:var(--dim);margin:2px 4px}
.text{padding:8px 12px;border-radius:14px;background:var(--them);white-space:pre-wrap;overflow-wrap:anywhere}
.me .text{background:var(--accent);color:var(--on)}
.text a{color:inherit}
.state.bad{color:var(--bad)}
.state button,.chip button,.file{text-decoration:underline;min-height:24px;padding:0 4px}
.file{display:flex;align-items:center;gap:8px;margin:2px 0;padding:8px 12px;border:1px solid var(--line);border-radius:14px;overflow-wrap:anywhere;text-align:start}
.file img{max-width:220px;max-height:180px;border-radius:8px;display:block}
.choices{display:flex;flex-wrap:wrap;gap:8px;margin:8px 0}
.choices button{border:1px solid var(--dim);border-radius:18px;padding:6px 14px;min-height:36px}
.choices button:hover{background:var(--them)}
.note{padding:6px 16px;font-size:13px;color:var(--dim);border-top:1px solid var(--line)}
.note.bad{color:var(--bad)}
.typing{font-size:13px;color:var(--dim);padding:0 16px 6px;min-height:24px}
.typing::after{content:"";display:inline-block;width:4px;height:4px;margin-left:4px;border-radius:2px;background:currentColor;animation:beat 1s infinite alternate}
.typing:empty::after{display:none}
@keyframes beat{to{opacity:.2}}
.chips{display:flex;flex-wrap:wrap;gap:4px;padding:0 12px 4px}
.chips:empty{padding:0}
.chip{font-size:13px;border:1px solid var(--line);border-radius:8px;padding:2px 8px;max-width:100%;overflow-wrap:anywhere}
.chip.bad{color:var(--bad)}
progress{width:64px;height:6px;vertical-align:middle;accent-color:var(--accent)}
form{display:flex;align-items:flex-end;gap:8px;padding:8px;border-top:1px solid var(--line);margin:0}
textarea{flex:1;min-width:0;font:inherit;font-size:16px;color:inherit;background:transparent;border:1px solid var(--dim);resize:none;height:40px;max-height:136px;padding:6px 12px;border-radius:12px;scrollbar-width:thin}
textarea:focus-visible{outline-offset:-2px}
textarea::placeholder{color:var(--dim);opacity:1}
.send{background:var(--accent);color:var(--on)}
.send:disabled{background:var(--them);color:var(--dim);cursor:default;filter:none}
.sr{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media (max-width:480px){.panel,.left .panel{inset:0;width:auto;height:100vh;height:100dvh;border:0;border-radius:0}.launch{bottom:16px;right:16px}.left .launch{left:16px}}
@media (prefers-reduced-motion:reduce){*,*::after{animation:none!important}}
@media (forced-colors:active){.text,.launch{border:1px solid}}`;

  const host = h('switchboard-chat', { 'data-base': base });
  const root = host.attachShadow({ mode: 'open' });
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS_TEXT);
    root.adoptedStyleSheets = [sheet];
  } catch { root.append(h('style', {}, CSS_TEXT)); }

  const accent = [opt('color'), cfg.color].find(c => /^#[0-9a-f]{6}$/i.test(c)) || '#0b57d0';
  // Black or white, whichever stands out more: one of the two always has a contrast of 4.5.
  const [r, g, b] = [1, 3, 5].map(i => parseInt(accent.slice(i, i + 2), 16) / 255)
    .map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  host.style.setProperty('--accent', accent);
  host.style.setProperty('--on', 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#000' : '#fff');

  const badge = h('span', { class: 'badge', hidden: true });
  const launch = h('button', { class: 'launch', type: 'button', 'aria-label': OPEN, 'aria-expanded': 'false', onclick: () => show(true) },
    icon('M21 12a8 8 0 0 1-8 8H4l2-3a8 8 0 1 1 15-5z'), badge);
  const log = h('div', { class: 'log', role: 'log', 'aria-live': 'polite', 'aria-label': title, tabindex: 0 },
    h('p', { class: 'greet' }, opt('greeting', cfg.greeting) || GREETING));
  const typing = h('div', { class: 'typing', 'aria-live': 'off' });
  const note = h('div', { class: 'note', role: 'status', hidden: true });
  const chips = h('div', { class: 'chips' });
  const input = h('textarea', { rows: 1, placeholder: WRITE, 'aria-label': WRITE, enterkeyhint: 'send',
    oninput: () => { fit(); tellTyping(); },
    onkeydown: e => { if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); submit(); } },
    onpaste: e => { const files = [...e.clipboardData.files]; if (files.length && cfg.uploads) { e.preventDefault(); files.forEach(upload); } } });
  const picker = h('input', { type: 'file', multiple: true, hidden: true, onchange: () => { [...picker.files].forEach(upload); picker.value = ''; } });
  const sendButton = h('button', { class: 'icon send', type: 'submit', 'aria-label': SEND, disabled: true }, icon('M5 12h14M13 6l6 6-6 6'));
  const who = h('div', { class: 'by' });
  const panel = h('section', { class: 'panel', role: 'dialog', 'aria-label': title, hidden: true },
    h('header', {}, h('div', { class: 'head' }, h('h2', {}, title), who),
      h('button', { class: 'icon', type: 'button', 'aria-label': CLOSE, onclick: () => show(false) }, icon('M6 6l12 12M18 6L6 18'))),
    log, typing, note, chips,
    h('form', { onsubmit: e => { e.preventDefault(); submit(); } },
      cfg.uploads && h('button', { class: 'icon', type: 'button', 'aria-label': ATTACH, onclick: () => picker.click() },
        icon('M20 11l-8.5 8.5a5 5 0 0 1-7-7L13 4a3.5 3.5 0 0 1 5 5l-8.5 8.5a2 2 0 0 1-3-3L14 7')),
      picker, input, sendButton));
  root.append(h('div', { class: opt('side', cfg.side) === 'left' ? 'w left' : 'w', onkeydown: e => { if (e.key === 'Escape' && !panel.hidden) { e.stopPropagation(); show(false); } } }, launch, panel));

  // --- The conversation
  let items = [];          // what is shown: by sequence, then what has none yet
  let lastSeq = 0;
  let readSeq = kept().read || 0;
  let files = [];          // of the message being written
  let online = false;
  let dead = false;        // this page may not use the chat

  const ours = i => i.from.kind !== 'visitor';
  const newest = () => items.reduce((n, i) => (ours(i) && i.seq > n ? i.seq : n), 0);

  function add(item) {
    const known = items.find(i => (item.seq && i.seq === item.seq) || (item.client_id && i.client_id === item.client_id));
    if (known) {
      // Our own entry comes back with its place in the thread: move it there, keep its node.
      Object.assign(known, item, { state: 'sent', error: null });
      if (item.client_id) keep(k => { const o = Object.assign({}, k.outbox); delete o[item.client_id]; return { outbox: o }; });
    } else items.push(item);
    items.sort((a, b) => (a.seq || Infinity) - (b.seq || Infinity) || a.order - b.order || 0);
    if (item.seq > lastSeq) lastSeq = item.seq;
    if (ours(item)) { hush(); if (item.status === 'read' && item.seq > readSeq) readSeq = item.seq; }
  }

  function drawItem(item, before, last) {
    const mine = !ours(item);
    const same = before && before.from.kind === item.from.kind && before.from.name === item.from.name;
    const state = item.state === 'failed'
      ? h('div', { class: 'state bad' }, `${FAILED}${item.error ? ': ' + item.error : ''} `,
        h('button', { type: 'button', onclick: () => again(item) }, RETRY), h('button', { type: 'button', onclick: () => forget(item) }, REMOVE))
      : item.state === 'sending' ? h('div', { class: 'state' }, online ? SENDING : WAITING)
      : mine && last ? h('div', { class: 'state' }, SENT) : null;
    const name = mine ? YOU : item.from.kind === 'auto' ? AUTO : item.from.name || SUPPORT;
    const at = new Date(item.at);
    const el = h('div', { class: `m ${mine ? 'me' : ''} ${same ? 'same' : ''}`, title: at.toLocaleString(lang) },
      h('div', { class: 'who' }, h('span', { class: mine ? 'sr' : '' }, name + ' '), h('time', { datetime: item.at }, at.toLocaleTimeString(lang, { hour: '2-digit', minute: '2-digit' }))),
      item.text && h('div', { class: 'text' }, ...linked(item.text)),
      ...(item.attachments || []).map(file => drawFile(item, file)),
      !mine && item.choices && item === items[items.length - 1] && h('div', { class: 'choices' },
        ...item.choices.map(c => h('button', { type: 'button', onclick: () => { say({ text: c.label || c.id, choice: c }); input.focus(); } }, c.label || c.id))),
      state);
    return el;
  }

  function linked(text) {
    return text.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/).map((part, n) =>
      n % 2 ? h('a', { href: part, target: '_blank', rel: 'noopener noreferrer nofollow' }, part) : part);
  }

  function drawFile(item, file) {
    if (!file.ref) return h('span', { class: 'file' }, file.name);
    const el = h('button', { class: 'file', type: 'button', 'aria-label': fill(DOWNLOAD, file.name), onclick: () => fetchFile(file).then(url => {
      const a = h('a', { href: url, download: file.name });
      root.append(a); a.click(); a.remove();
    }).catch(() => say_note(UPLOAD, true)) }, file.name);
    if (/^image\/(png|jpeg|gif|webp)$/.test(file.mime) && file.size < 4e6) {
      // A page whose policy forbids blob: pictures still has the name.
      fetchFile(file).then(src => { const img = h('img', { src, alt: file.name, onload: () => { el.replaceChildren(img); if (atEnd) bottom(); } }); }).catch(() => {});
    }
    return el;
  }

  const fetched = {};
  function fetchFile(file) {
    fetched[file.ref] ??= call('GET', `files/${file.ref.split(':').pop()}?name=${encodeURIComponent(file.name)}`).then(r => r.blob()).then(b => URL.createObjectURL(b));
    fetched[file.ref].catch(() => delete fetched[file.ref]);
    return fetched[file.ref];
  }

  let atEnd = true;
  const bottom = () => { log.scrollTop = log.scrollHeight; };
  log.addEventListener('scroll', () => { atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 48; });

  // Only nodes whose looks changed are replaced, so that a screen reader hears what is new and nothing twice.
  function draw() {
    const mine = items.filter(i => !ours(i));
    let node = log.firstElementChild, before = null;
    for (const item of items) {
      const last = item === mine[mine.length - 1];
      const looks = JSON.stringify([item.state, item.error, item.at, last, online && item.state, item === items[items.length - 1] && item.choices, before && before.from]);
      if (item.looks !== looks) {
        item.looks = looks;
        const fresh = drawItem(item, before, last);
        const focused = item.node && item.node.contains(root.activeElement);
        if (item.node) item.node.replaceWith(fresh);
        item.node = fresh;
        if (focused) input.focus();
      }
      if (node.nextElementSibling !== item.node) node.after(item.node);
      node = item.node;
      before = item;
    }
    while (node.nextElementSibling) node.nextElementSibling.remove();
    const agent = [...items].reverse().find(i => i.from.kind === 'agent' && i.from.name);
    who.textContent = agent ? agent.from.name : '';
    if (atEnd) bottom();
    count();
  }

  function count() {
    const seen = !panel.hidden && document.visibilityState === 'visible';
    const end = newest();
    if (seen && end > readSeq) {
      readSeq = end;
      keep(() => ({ read: end }));
      tell({ type: 'read', up_to_seq: end });
    }
    const unread = items.filter(i => ours(i) && i.seq > readSeq).length;
    badge.hidden = !unread;
    badge.textContent = unread > 99 ? '99+' : unread;
    launch.setAttribute('aria-label', unread ? `${OPEN}, ${fill(UNREAD, unread)}` : OPEN);
  }

  let noteTimer, place = 0;
  function say_note(text, bad) {
    clearTimeout(noteTimer);
    note.textContent = text || '';
    note.className = bad ? 'note bad' : 'note';
    note.hidden = !text;
    if (bad) noteTimer = setTimeout(status, 6000);
  }
  function status() {
    if (dead) return say_note(REFUSED, true);
    say_note(online ? place ? fill(QUEUE, place) : '' : navigator.onLine === false ? OFFLINE : tries > 1 ? AWAY : CONNECTING);
  }

  let hushTimer;
  const hush = () => { clearTimeout(hushTimer); typing.textContent = ''; };

  // --- What the visitor does
  function show(open) {
    if (open === !panel.hidden) return;
    panel.hidden = !open;
    launch.hidden = open;
    launch.setAttribute('aria-expanded', String(open));
    keep(() => ({ open }));
    if (open) {
      connect();
      fit();
      bottom();
      draw();
      // A touch screen would raise its keyboard over the greeting.
      (matchMedia('(pointer:coarse)').matches ? log : input).focus({ preventScroll: true });
    } else launch.focus();
  }

  function fit() {
    input.style.height = 'auto';
    input.style.height = Math.max(40, input.scrollHeight) + 'px';
    sendButton.disabled = dead || files.some(f => !f.done) || !(input.value.trim() || files.length);
  }

  function submit() {
    fit();
    if (sendButton.disabled) return;
    const text = input.value.trim();
    if ([...text].length > cfg.maxText) return say_note(fill(LONG, cfg.maxText), true);
    say({ text, attachments: files.map(f => f.done) });
    input.value = '';
    typed = 0;
    files = [];
    chips.replaceChildren();
    fit();
  }

  const newId = () => crypto.randomUUID ? crypto.randomUUID() : [...crypto.getRandomValues(new Uint8Array(16))].map(x => x.toString(16).padStart(2, '0')).join('');

  function say(words) {
    const entry = Object.assign({ client_id: newId(), at: new Date().toISOString(), order: Date.now() }, words);
    keep(k => ({ outbox: Object.assign({}, k.outbox, { [entry.client_id]: entry }) }));
    atEnd = true;
    pending(entry);
    draw();
    pump();
  }
  const pending = entry => add(Object.assign({ from: { kind: 'visitor' }, state: entry.error !== undefined ? 'failed' : 'sending' }, entry));

  function mark(item, state, error) {
    item.state = state;
    item.error = error;
    keep(k => {
      const o = Object.assign({}, k.outbox);
      if (state === 'sent') delete o[item.client_id];
      else if (o[item.client_id]) o[item.client_id] = Object.assign({}, o[item.client_id], { error });
      return { outbox: o };
    });
    draw();
  }
  function again(item) { item.tries = 0; mark(item, 'sending'); input.focus(); connect(); pump(); }
  function forget(item) { mark(item, 'sent'); items = items.filter(i => i !== item); draw(); input.focus(); }

  let typed = 0;
  function tellTyping() { if (Date.now() - typed > 3000 && input.value) { typed = Date.now(); tell({ type: 'typing' }); } }

  function upload(file) {
    if (files.length >= cfg.maxFiles) return;
    if (file.size > cfg.maxFile) return say_note(fill(LARGE, Math.floor(cfg.maxFile / 1048576)), true);
    const bar = h('progress', { max: 1, value: 0, 'aria-label': file.name });
    const drop = () => { xhr.abort(); chip.remove(); files = files.filter(f => f !== slot); fit(); input.focus(); };
    const chip = h('span', { class: 'chip' }, file.name + ' ', bar, h('button', { type: 'button', 'aria-label': `${REMOVE}: ${file.name}`, onclick: drop }, '×'));
    const slot = {};
    const xhr = new XMLHttpRequest();
    const failed = text => { chip.classList.add('bad'); bar.remove(); files = files.filter(f => f !== slot); say_note(text, true); fit(); };
    xhr.upload.onprogress = e => { bar.value = e.loaded / e.total; };
    xhr.onerror = () => failed(UPLOAD);
    xhr.onload = () => {
      if (xhr.status === 201) { slot.done = JSON.parse(xhr.responseText); bar.remove(); fit(); } else failed(xhr.status === 415 ? KIND : UPLOAD);
    };
    files.push(slot);
    chips.append(chip);
    fit();
    connect();
    ready.then(() => {
      xhr.open('POST', `${base}/files?name=${encodeURIComponent(file.name)}`);
      xhr.setRequestHeader('Authorization', 'Bearer ' + kept().token);
      xhr.send(file);
    });
  }

  // --- The line to the daemon: a WebSocket, or where none gets through, plain requests
  let socket = null, polling = null, busy = false, tries = 0, blocked = 0, works = false, timer, beat, heardAt = 0, flight = null, user = null, visitor;
  let readyNow, ready = new Promise(done => { readyNow = done; });
  if (opt('userId')) user = { id: opt('userId'), hash: opt('userHash', ''), name: opt('userName') };

  const about = () => ({ page: { url: location.href.slice(0, 1500), title: document.title.slice(0, 200), referrer: document.referrer.slice(0, 1500) }, locale: navigator.language, tz: Intl.DateTimeFormat().resolvedOptions().timeZone, user: user || undefined });
  const hello = () => Object.assign({ type: 'hello', v: 1, token: kept().token, resume_after: lastSeq }, about());

  async function call(method, path, body, signal) {
    const headers = {};
    if (kept().token) headers.Authorization = 'Bearer ' + kept().token;
    if (body) headers['Content-Type'] = 'application/json';
    const response = await fetch(`${base}/${path}`, { method, headers, signal, body: body && JSON.stringify(body), credentials: 'omit', cache: method === 'GET' && path.startsWith('files') ? 'default' : 'no-store' });
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    throw Object.assign(new Error(problem.code || response.status), { problem, status: response.status });
  }

  function connect() {
    clearTimeout(timer);
    if (busy || dead) return;
    busy = true;
    status();
    if (blocked >= 2 || !window.WebSocket) return poll();
    let spoke = false;
    const ws = socket = new WebSocket(base.replace(/^http/, 'ws') + '/ws');
    const slow = setTimeout(() => ws.close(), 12000);
    ws.onopen = () => ws.send(JSON.stringify(hello()));
    ws.onmessage = e => { spoke = works = true; heardAt = Date.now(); clearTimeout(slow); let frame; try { frame = JSON.parse(e.data); } catch { return; } heard(frame); };
    ws.onclose = e => {
      clearTimeout(slow);
      if (ws !== socket) return;
      socket = null;
      // Some networks refuse the upgrade, others swallow what follows it. Who is turned away got through, and waits.
      if (spoke || e.code >= 1012) blocked = 0; else blocked++;
      if (e.code === 4401) return stranger();
      if (e.code === 4403) return refused();
      lost(e.code === 4429 ? 30000 : 0);
    };
  }

  function lost(wait) {
    busy = online = false;
    flight = null;
    clearInterval(beat);
    // The way without a WebSocket is tried at once; the two are one attempt. Where a connection was held, the daemon was there: soon again.
    if (blocked === 1) timer = setTimeout(connect, 100);
    else timer = setTimeout(connect, Math.max(wait, Math.min(works && tries < 12 ? 5000 : 30000, 400 * 2 ** tries++)) * (0.5 + Math.random()));
    status();
    draw();
  }
  function stranger() {
    // The token is not good any more. What was not sent goes out under a new one; a user's bad proof will not get better.
    const had = kept().token;
    keep(() => ({ token: undefined }));
    if (!had && user) return refused();
    restart();
    lost(had ? 0 : 5000);
  }
  function refused() {
    dead = true; busy = online = false;
    console.warn(`switchboard chat: ${base} does not accept this page (${location.origin}); add it to the channel's origins`);
    status(); fit(); draw();
  }
  function restart() {
    items.filter(i => i.seq).forEach(i => i.node && i.node.remove());
    items = items.filter(i => !i.seq && i.state !== 'sent');
    lastSeq = 0;
  }

  async function poll() {
    polling = new AbortController();
    const mine = polling;
    // Then a WebSocket is tried again; soon if one worked before, for then the daemon was away and not the way to it.
    const until = Date.now() + (works ? 20000 : 300000);
    let late = setTimeout(() => mine.abort(), 15000);
    try {
      heard(await (await call('POST', 'session', hello(), mine.signal)).json());
      while (polling === mine && Date.now() < until) {
        clearTimeout(late);
        late = setTimeout(() => mine.abort(), 45000);
        const news = await (await call('GET', `events?after=${lastSeq}&wait=25&queue=${place}`, null, mine.signal)).json();
        if (news.reset) restart();
        quietly(news.events.length > 1, () => news.events.forEach(heard));
        if (place !== (news.queue_position || 0)) { place = news.queue_position || 0; status(); }
      }
      if (polling === mine) { blocked = 1; lost(0); }
    } catch (e) {
      if (polling !== mine) return;
      // Plain requests do not get through either: nothing is known about WebSockets.
      if (!e.status) blocked = 0;
      if (e.status === 401) stranger();
      else if (e.status === 403) refused();
      else lost((e.problem && e.problem.retry_after_ms) || 0);
    } finally { clearTimeout(late); }
  }

  // A replay is not read out.
  function quietly(really, work) {
    if (really) log.setAttribute('aria-live', 'off');
    work();
    draw();
    if (really) setTimeout(() => log.setAttribute('aria-live', 'polite'), 500);
  }

  function tell(frame) {
    if (!online) return;
    if (socket) socket.send(JSON.stringify(frame));
    else if (frame.type !== 'ping') call('POST', 'messages', frame).catch(() => {});
  }

  function heard(frame) {
    switch (frame.type) {
      case 'welcome': return welcome(frame);
      case 'message':
        add(frame);
        draw();
        if (ours(frame) && frame.seq > readSeq) tell({ type: 'delivered', up_to_seq: frame.seq });
        return;
      case 'ack': return settle(frame.client_id, 'sent');
      case 'typing':
        hush();
        typing.textContent = `${frame.from.name || SUPPORT} ${TYPING}`;
        hushTimer = setTimeout(hush, 6000);
        return;
      case 'read': if (frame.up_to_seq > readSeq) { readSeq = frame.up_to_seq; keep(() => ({ read: readSeq })); count(); } return;
      case 'queue': place = frame.position || 0; return status();
      case 'error': return trouble(frame);
      case 'bye': tries = 0; return;
    }
  }

  function welcome(frame) {
    if (frame.reset || (visitor && visitor !== frame.visitor)) restart();
    visitor = frame.visitor;
    keep(() => ({ token: frame.token, visitor: frame.visitor }));
    tries = 0;
    if (socket) blocked = 0;
    online = true;
    heardAt = Date.now();
    place = frame.queue_position || 0;
    quietly(true, () => frame.replay.forEach(add));
    const end = newest();
    if (end > readSeq) tell({ type: 'delivered', up_to_seq: end });
    clearInterval(beat);
    beat = setInterval(() => {
      if (!socket) return;
      if (Date.now() - heardAt > 2.5 * frame.ping_s * 1000) socket.close(); else tell({ type: 'ping' });
    }, frame.ping_s * 1000);
    readyNow();
    status();
    pump();
  }

  // One message is on its way at a time, so that order is kept whatever fails.
  function pump() {
    if (!online || flight) return;
    const item = items.find(i => i.state === 'sending');
    if (!item) return;
    const frame = { type: 'message', client_id: item.client_id, text: item.text, attachments: item.attachments, choice: item.choice };
    const line = socket;
    flight = { id: item.client_id, timer: setTimeout(() => { if (line) line.close(); else { flight = null; pump(); } }, 15000) };
    const json = JSON.stringify(frame);
    // What is longer than a frame may be, as four thousand characters of some scripts are, goes by request.
    if (line && new TextEncoder().encode(json).length < 8000) line.send(json);
    else call('POST', 'messages', Object.assign(about(), frame)).then(r => r.json()).then(heard, e => trouble(Object.assign({ code: 'unavailable' }, e.problem, { client_id: item.client_id })));
  }

  function settle(id, state, error) {
    if (flight && flight.id === id) { clearTimeout(flight.timer); flight = null; }
    const item = items.find(i => i.client_id === id);
    if (item && item.state === 'sending') mark(item, state, error);
    pump();
  }

  function trouble(frame) {
    const item = frame.client_id && items.find(i => i.client_id === frame.client_id);
    if (!item) return;
    const passing = ['rate_limited', 'unavailable', 'busy'].includes(frame.code);
    item.tries = (item.tries || 0) + (frame.code === 'rate_limited' ? 0 : 1);
    if (!passing || item.tries > 4) return settle(item.client_id, 'failed', passing ? '' : frame.code === 'too_long' ? fill(LONG, cfg.maxText) : frame.detail || '');
    if (flight) clearTimeout(flight.timer);
    flight = { id: item.client_id, timer: setTimeout(() => { flight = null; pump(); }, Math.min(30000, frame.retry_after_ms || 1000)) };
  }

  // --- Start
  addEventListener('online', () => { tries = 0; if (!online) connect(); });
  addEventListener('offline', status);
  // Another tab signed somebody in or out: this one follows.
  addEventListener('storage', e => { if (e.key === KEY && e.newValue && online && kept().visitor !== visitor) { hangUp(); restart(); connect(); } });
  document.addEventListener('visibilitychange', () => { count(); if (document.visibilityState === 'visible' && !online && busy === false && started()) connect(); });
  const started = () => kept().token || !panel.hidden;
  const start = () => {
    document.body.append(host);
    Object.values(outbox()).sort((x, y) => x.order - y.order).forEach(pending);
    draw();
    if (opt('open') !== undefined && opt('open') !== 'false' && kept().open === undefined || kept().open && !matchMedia('(max-width:480px)').matches) show(true);
    // A visitor who never wrote costs no connection.
    if (started()) connect();
  };
  if (document.body) start(); else addEventListener('DOMContentLoaded', start);

  const hangUp = () => { const s = socket; socket = null; if (s) s.close(); if (polling) polling.abort(); polling = null; clearTimeout(timer); clearInterval(beat); busy = online = false; flight = null; };
  window.SwitchboardChat = {
    open: () => show(true),
    close: () => show(false),
    // The shop's server vouches for its user: { id, hash, name }.
    identify: who => { user = who; hangUp(); restart(); connect(); },
    // Somebody else sits down: forget who was here.
    reset: () => { hangUp(); user = null; dead = false; items = []; lastSeq = readSeq = 0; memory = {}; try { localStorage.removeItem(KEY); } catch { /* memory only */ } draw(); if (!panel.hidden) connect(); },
  };
})(/*{settings}*/ {});
