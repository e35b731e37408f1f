package simnet

// A buffer is a queue of bytes in chunks, which come from the network's spares and go back there.
// So an idle connection holds none, and a busy one keeps using the same few, which are in the
// processor's cache. What a call of Write brings may be lent for as long as that call lasts, which
// saves a copy if it is read meanwhile. The zero buffer is empty.
type buffer struct {
	first, last *chunk // nil if there is none
	lent        []byte // behind the chunks
	n           int    // bytes in all
}

// A chunk is full up to end, and was taken up to head.
type chunk struct {
	next      *chunk
	head, end int
	b         [16<<10 - 24]byte // 16 KiB with what is above
}

// spares are chunks that nobody uses, the one used last first.
type spares struct {
	first *chunk
	n     int
}

// maxSpares limits what a network keeps to 4 MiB, as much as a connection holds.
const maxSpares = 256

func (s *spares) take() *chunk {
	c := s.first
	if c == nil {
		return new(chunk)
	}
	s.first, c.next = c.next, nil
	s.n--
	return c
}

func (s *spares) give(c *chunk) {
	if s.n < maxSpares {
		c.head, c.end, c.next = 0, 0, s.first
		s.first = c
		s.n++
	}
}

func (q *buffer) len() int { return q.n }

// put appends a copy of p.
func (q *buffer) put(s *spares, p []byte) {
	q.keep(s)
	q.n += len(p)
	q.append(s, p)
}

// lend appends p itself, which must not change until keep is called.
func (q *buffer) lend(s *spares, p []byte) {
	q.keep(s)
	q.n += len(p)
	q.lent = p
}

// keep copies what is still lent.
func (q *buffer) keep(s *spares) {
	q.append(s, q.lent)
	q.lent = nil
}

func (q *buffer) append(s *spares, p []byte) {
	for len(p) > 0 {
		c := q.last
		switch {
		case c == nil:
			c = s.take()
			q.first, q.last = c, c
		case c.end == len(c.b):
			c.next = s.take()
			c = c.next
			q.last = c
		}
		k := copy(c.b[c.end:], p)
		c.end += k
		p = p[k:]
	}
}

// next returns what lies at the front in one piece. It is valid until the next call of put or skip.
func (q *buffer) next() []byte {
	if c := q.first; c != nil {
		return c.b[c.head:c.end]
	}
	return q.lent
}

// from returns a piece of what lies n bytes behind the front, as next does for 0.
func (q *buffer) from(n int) []byte {
	for c := q.first; c != nil; c = c.next {
		if k := c.end - c.head; n >= k {
			n -= k
			continue
		}
		return c.b[c.head+n : c.end]
	}
	return q.lent[n:]
}

// skip removes n bytes from the front, which next has returned.
func (q *buffer) skip(s *spares, n int) {
	q.n -= n
	c := q.first
	if c == nil {
		q.lent = q.lent[n:]
		return
	}
	if c.head += n; c.head < c.end {
		return
	}
	if q.first = c.next; q.first == nil {
		q.last = nil
	}
	s.give(c)
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

// drop empties the buffer.
func (q *buffer) drop(s *spares) {
	for c := q.first; c != nil; {
		next := c.next
		s.give(c)
		c = next
	}
	*q = buffer{}
}
