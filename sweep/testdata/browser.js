// What TestPageInBrowser asks of the page, which stands in two frames.
addEventListener('load', async () => {
  const got = {Errors: [], Legend: {}, Drawn: {}, Resources: 0, Alerts: 0, Overflow: []}
  try {
    const [small, big] = [...document.querySelectorAll('iframe')].map(f => f.contentWindow)
    for (const w of [small, big]) {
      got.Overflow.push(Math.max(0, w.document.documentElement.scrollWidth - w.innerWidth))
      got.Resources += w.performance.getEntriesByType('resource').length
      got.Alerts += w.document.querySelectorAll('img').length
      w.addEventListener('error', e => got.Errors.push(e.message))
      w.alert = () => got.Alerts++
    }
    const doc = big.document, $ = q => doc.querySelector(q), key = k => doc.activeElement.dispatchEvent(new big.KeyboardEvent('keydown', {key: k, bubbles: true}))
    for (const b of doc.querySelectorAll('.legend button')) got.Legend[b.dataset.k] = +b.querySelector('b').textContent.replace(/,/g, '')
    for (const g of doc.querySelectorAll('svg.p g')) {
      const k = g.getAttribute('class')
      for (const m of g.firstElementChild.getAttribute('d').matchAll(/h(\d+)v/g)) got.Drawn[k] = (got.Drawn[k] || 0) + m[1] / 11
    }
    for (const k in got.Legend) if (!got.Legend[k]) delete got.Legend[k]
    doc.querySelectorAll('details').forEach(d => d.open = false)
    big.location.hash = '#every/conn_2/answer/byte_1/b'
    await new Promise(r => big.addEventListener('hashchange', r, {once: true}))
    got.Linked = $('#s1').open && $('.cur') !== null
    got.Command = $('#d code').textContent
    'ArrowRight ArrowRight ArrowDown ArrowDown ArrowDown'.split(' ').forEach(key)
    got.Keys = decodeURI(big.location.hash.slice(1))
    key('n')
    const cell = $('.cur').getBoundingClientRect(), panel = $('#d').getBoundingClientRect()
    got.Visible = cell.top > 0 && cell.bottom < panel.top && /^[A-Z] /.test($('#d .badge').textContent)
    const svg = $('#s1 svg.p'), q = svg.getBoundingClientRect()
    svg.dispatchEvent(new big.MouseEvent('mousemove', {clientX: q.left + 11 * 5 + 5, clientY: q.top + 30 + 5, bubbles: true}))
    got.Hover = $('#d').innerText
    $('.legend button[data-k=W]').click()
    got.Alone = big.getComputedStyle($('#s1 svg.p g.K, #s1 svg.p g.e')).opacity + ' ' + big.getComputedStyle($('#s1 svg.p g.W')).opacity
  } catch (e) { got.Errors.push(String(e) + e.stack) }
  document.querySelector('pre').textContent = JSON.stringify(got)
})
