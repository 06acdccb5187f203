package replica

// trail is where a copy has been, oldest first. It is dense for the last changes and
// sparse for those long ago: the gap between two of its positions is at most about a
// sixteenth of how far back they are.
type trail []Position

// mostTrail is when a trail is thinned. What is left is a third of it for 10^9 changes.
const mostTrail = 1024

// add adds the newest position. Later ones are of changes that the store has lost.
func (t *trail) add(p Position) {
	t.cut(p.Seq)
	if p.Seq == 0 {
		return // any store has been there
	}
	if *t = append(*t, p); len(*t) >= mostTrail {
		t.thin()
	}
}

// cut deletes the positions from a number on.
func (t *trail) cut(seq uint64) {
	n := len(*t)
	for n > 0 && (*t)[n-1].Seq >= seq {
		n--
	}
	*t = (*t)[:n]
}

// thin deletes positions between two others that are close to each other.
func (t *trail) thin() {
	all := *t
	newest := all[len(all)-1].Seq
	first := len(all) - 1 // of those that stay, which are at the end
	for i := first - 1; i >= 0; i-- {
		if next := all[first].Seq; i == 0 || next-all[i-1].Seq > (newest-next)/16 {
			first--
			all[first] = all[i]
		}
	}
	*t = append(all[:0], all[first:]...)
}

// Past returns where the copy has been, newest first.
func (c *Copy) Past() []Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	past := make([]Position, 0, len(c.trail))
	for i := len(c.trail) - 1; i >= 0; i-- {
		past = append(past, c.trail[i])
	}
	return past
}

// Found is what a store knows of a position of Past.
type Found int

const (
	Continues Found = iota // it has that change
	Lost                   // it has another one of that number, or none
	Trimmed                // that number has left the log
)

// Newest returns the newest of some positions, newest first, from which a store
// continues. There may be a thousand. So it looks for the place where those that are
// lost end, which takes ten questions.
func Newest(past []Position, find func(Position) (Found, error)) (at Position, ok bool, err error) {
	for from, to := 0, len(past); from < to; {
		i := (from + to) / 2
		found, err := find(past[i])
		switch {
		case err != nil:
			return at, false, err
		case found == Lost:
			from = i + 1
		case found == Trimmed:
			to = i
		default:
			at, ok, to = past[i], true, i
		}
	}
	return at, ok, nil
}

// Rejoin says that the store continues from one of the positions of Past, which may be
// in another epoch by now. From there the copy follows again what is acknowledged, and
// can be fresh while everything is loaded. What comes after the position and is not in
// the store stays in force. Rejoin is called by whoever calls Install, if Position
// returns false.
func (c *Copy) Rejoin(at Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.broken, c.rejoined, c.merging = at, false, true, nil
	c.away = c.wasAway()
	c.trail.add(at)
	c.release()
}
