package simnet

// A buffer is a queue of bytes. The zero buffer is empty.
type buffer struct {
	b    []byte
	head int // of b, what was taken
}

func (q *buffer) len() int { return len(q.b) - q.head }

// bytes are those in the queue, until the next put.
func (q *buffer) bytes() []byte { return q.b[q.head:] }

// put copies p to the end. Room is made by moving what is there to the front, if that is less than what was taken since:
// so no byte is moved more than once.
func (q *buffer) put(p []byte) {
	if len(q.b)+len(p) > cap(q.b) && q.head >= q.len() {
		q.b = q.b[:copy(q.b, q.b[q.head:])]
		q.head = 0
	}
	q.b = append(q.b, p...)
}

// take removes n bytes from the front.
func (q *buffer) take(n int) {
	if q.head += n; q.head == len(q.b) {
		q.b, q.head = q.b[:0], 0
	}
}

// drop frees all.
func (q *buffer) drop() { *q = buffer{} }
