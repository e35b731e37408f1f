package simnet

// A buffer is a queue of bytes, in chunks that come from the network's spares and go back there: a connection that is idle
// holds none, and one that is busy goes on using the same few, which the processor's cache then has. The zero buffer is
// empty.
type buffer struct {
	chunks []*chunk
	first  int // of chunks, what has been emptied
	n      int // bytes in all
}

// A chunk is full up to end, and was taken up to head.
type chunk struct {
	head, end int
	b         [16 << 10]byte
}

// spares are chunks that nobody uses.
type spares []*chunk

// maxSpares bounds what a network keeps, at 4 MiB: as much as a connection holds.
const maxSpares = 256

func (s *spares) take() *chunk {
	last := len(*s) - 1
	if last < 0 {
		return new(chunk)
	}
	c := (*s)[last]
	*s = (*s)[:last]
	return c
}

func (s *spares) give(c *chunk) {
	if len(*s) < maxSpares {
		c.head, c.end = 0, 0
		*s = append(*s, c)
	}
}

func (q *buffer) len() int { return q.n }

// put copies p to the end.
func (q *buffer) put(s *spares, p []byte) {
	q.n += len(p)
	for len(p) > 0 {
		if len(q.chunks) == 0 || q.last().end == len(chunk{}.b) {
			q.chunks = append(q.chunks, s.take())
		}
		c := q.last()
		k := copy(c.b[c.end:], p)
		c.end += k
		p = p[k:]
	}
}

func (q *buffer) last() *chunk { return q.chunks[len(q.chunks)-1] }

// next is what lies at the front in one piece, until the next call of put or skip.
func (q *buffer) next() []byte {
	if q.n == 0 {
		return nil
	}
	c := q.chunks[q.first]
	return c.b[c.head:c.end]
}

// skip removes n bytes from the front, which next has given.
func (q *buffer) skip(s *spares, n int) {
	q.n -= n
	c := q.chunks[q.first]
	if c.head += n; c.head < c.end {
		return
	}
	s.give(c)
	q.chunks[q.first] = nil
	if q.first++; q.first == len(q.chunks) {
		q.chunks, q.first = q.chunks[:0], 0
	} else if q.first > len(q.chunks)/2 {
		kept := copy(q.chunks, q.chunks[q.first:])
		clear(q.chunks[kept:])
		q.chunks, q.first = q.chunks[:kept], 0
	}
}

// read moves bytes from the front to p.
func (q *buffer) read(s *spares, p []byte) (n int) {
	for n < len(p) && q.n > 0 {
		k := copy(p[n:], q.next())
		q.skip(s, k)
		n += k
	}
	return n
}

// drop frees all.
func (q *buffer) drop(s *spares) {
	for _, c := range q.chunks[q.first:] {
		s.give(c)
	}
	*q = buffer{}
}
