(() => {
const M = JSON.parse(document.getElementById('data').textContent), SIDE = 11, ACROSS = 32
const panel = document.getElementById('d'), box = panel.firstElementChild
M.whats.forEach(w => Object.assign(w, M.ends[w.e]))
const bad = w => w && /[A-Z]/.test(w.c) && !w.r
const make = (tag, props, text) => { const e = document.createElement(tag); Object.assign(e, props); if (text !== undefined) e.textContent = text; return e }

// Each stream gets its columns, what is at each line and column, and its elements.
M.streams.forEach((s, i) => { s.w ||= []
  s.cols = s.c.flatMap(([from, n]) => Array.from({length: n}, (_, j) => from + j))
  s.at = s.r.map(row => {
    const line = []
    for (let j = 0; j < row.length; j += 3) for (let k = 0; k < row[j + 1]; k++) line[row[j] + k] = M.whats[row[j + 2]]
    return line
  })
  s.raw = s.b ? atob(s.b) : ''
  s.el = document.querySelector(`.map[data-s="s${i}"]`)
  s.pieces = [...s.el.querySelectorAll('svg.p')]
  s.top = s.b ? 30 : 2
})
const name = (s, c, l) => s.p ? s.p[s.cols[c]] : s.n + (s.b ? '/byte_' + s.cols[c] : '') + '/' + s.f[l]
const command = point => M.repeat + '/' + point.split('/').map(p => '^' + p.replace(/[.*+?^${}()|[\]\\]/g, '\\$&') + '$').join('/') + "'"

function where(s, c) {
  const at = s.cols[c], n = s.raw.length, b = s.raw.charCodeAt(at)
  if (!n) return ''
  if (at >= n) return `after the last byte (${n})`
  const w = s.w.filter(w => w <= at).length
  return `before byte ${at} of ${n}, ${b > 32 && b < 127 ? '"' + s.raw[at] + '" ' : ''}0x${b.toString(16).padStart(2, '0')}, byte ${at - s.w[w - 1]} of write ${w}`
}

let cur, marks = []
function show(s, c, l, go) {
  const w = s.at[l][c], point = name(s, c, l)
  cur = {s, c, l}
  panel.className = 'on'
  marks.forEach(m => m.remove())
  marks = ['cur2', 'cur'].map(k => {
    const m = document.createElementNS('http://www.w3.org/2000/svg', 'rect')
    for (const [a, v] of Object.entries({class: k, x: c % ACROSS * SIDE - 1, y: s.top + l * SIDE - 1, width: SIDE + 1, height: SIDE + 1})) m.setAttribute(a, v)
    return m
  })
  s.pieces[Math.floor(c / ACROSS)].append(...marks)
  const head = make('div')
  if (w) w.o.forEach((o, i) => head.append(make('span', {className: 'badge ' + w.c[i]}, (/[A-Z]/.test(w.c[i]) ? w.c[i] + ' ' : '') + o), ' '))
  head.append(make('b', {}, s.f[l]), ` ${s.n} ${where(s, c)}`, w ? '' : ': no such point')
  box.replaceChildren(head)
  if (w && w.t) box.append(make('pre', {}, w.t))
  if (w && w.w) box.append(make('div', {}, 'was accepted as: ' + w.w))
  if (w && w.r) box.append(make('div', {}, 'accepted: ' + w.r))
  if (w) {
    const line = make('div', {className: 'cmd'}), code = make('code', {}, command(point)), copy = make('button', {}, 'copy')
    copy.onclick = () => { // the clipboard is missing over plain http
      getSelection().selectAllChildren(code)
      navigator.clipboard ? navigator.clipboard.writeText(code.textContent).then(() => copy.textContent = 'copied') : document.execCommand('copy')
    }
    line.append(copy, code)
    box.append(line)
  }
  if (go) { history.replaceState(null, '', '#' + encodeURI(point)); marks[1].scrollIntoView({block: 'nearest'}) }
}

for (const s of M.streams) {
  const hit = e => {
    const g = e.target.closest('svg.p')
    if (!g) return
    const q = g.getBoundingClientRect(), k = g.viewBox.baseVal.width / q.width
    const c = +g.dataset.c + Math.floor((e.clientX - q.left) * k / SIDE), l = Math.max(0, Math.floor(((e.clientY - q.top) * k - s.top) / SIDE))
    return c < s.cols.length && l < s.f.length ? [c, l] : undefined
  }
  s.el.addEventListener('mousemove', e => { const a = hit(e); if (a && !(cur && cur.s === s && cur.c === a[0] && cur.l === a[1])) show(s, ...a) })
  s.el.addEventListener('click', e => { const a = hit(e); if (a) show(s, ...a, true) })
  s.el.addEventListener('focus', () => { if (!cur || cur.s !== s) show(s, 0, 0) })
  s.el.addEventListener('keydown', e => {
    const {c, l} = cur && cur.s === s ? cur : {c: 0, l: 0}, n = s.cols.length
    const to = {ArrowLeft: [c - 1, l], ArrowRight: [c + 1, l], ArrowUp: [c, l - 1], ArrowDown: [c, l + 1], Home: [0, l], End: [n - 1, l], PageDown: [c + ACROSS, l], PageUp: [c - ACROSS, l]}[e.key]
    if (!to || e.ctrlKey || e.metaKey || e.altKey) return
    e.preventDefault()
    show(s, Math.min(n - 1, Math.max(0, to[0])), Math.min(s.f.length - 1, Math.max(0, to[1])), true)
  })
}
document.querySelectorAll('.strip').forEach(d => {
  const s = M.streams[d.dataset.s.slice(1)], g = d.querySelector('.o')
  g.onclick = e => {
    const q = g.getBoundingClientRect(), at = (e.clientX - q.left) / q.width * g.viewBox.baseVal.width
    const l = Math.min(s.f.length - 1, Math.floor((e.clientY - q.top) / q.height * s.f.length))
    const c = Math.max(0, s.cols.findLastIndex(x => x <= at))
    location.hash = encodeURI(name(s, c, l))
  }
})

// A violation begins where the cell on its left is none, or another one.
const begins = (s, c, l) => bad(s.at[l][c]) && (c === 0 || !bad(s.at[l][c - 1]) || s.at[l][c - 1].c[0] !== s.at[l][c].c[0])
function next(step) {
  const all = M.streams.flatMap(s => s.cols.flatMap((_, c) => s.f.map((_, l) => [s, c, l])))
  const from = cur ? all.findIndex(([s, c, l]) => s === cur.s && c === cur.c && l === cur.l) : step > 0 ? -1 : all.length
  for (let i = 1; i <= all.length; i++) {
    const [s, c, l] = all[(from + step * i + 2 * all.length) % all.length]
    if (begins(s, c, l)) return open(s, c, l, true)
  }
}
function open(s, c, l, go) {
  s.el.closest('details').open = true
  s.el.focus({preventScroll: true})
  show(s, c, l, go)
}
addEventListener('keydown', e => { if ((e.key === 'n' || e.key === 'p') && !e.ctrlKey && !e.metaKey && !e.altKey) next(e.key === 'n' ? 1 : -1) })

function follow() {
  const want = decodeURI(location.hash.slice(1))
  const fold = document.getElementById(want)
  if (fold && fold.tagName === 'DETAILS') { fold.open = true; return }
  for (const s of M.streams) for (let l = 0; l < s.f.length; l++) {
    const c = s.cols.findIndex((_, c) => name(s, c, l) === want)
    if (c >= 0) { open(s, c, l); s.pieces[Math.floor(c / ACROSS)].scrollIntoView({block: 'center'}); return }
  }
}
addEventListener('hashchange', follow)
follow()

const buttons = [...document.querySelectorAll('.legend button')]
buttons.forEach(b => b.onclick = () => {
  const on = b.getAttribute('aria-pressed') !== 'true'
  buttons.forEach(x => x.setAttribute('aria-pressed', x === b && on))
  on ? document.body.dataset.only = b.dataset.k : delete document.body.dataset.only
})
})()
