package redisrevocation

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/seed450a7203/jwthttp/internal/replica"
)

// reply is the answer of a script.
type reply struct {
	head      replica.Position // of the last change in Redis
	continues bool             // from where the caller is
	changes   []replica.Change // the ones after that
}

// errLost says that Redis no longer has what the copy has.
var errLost = fmt.Errorf("redis: %w", replica.ErrLost)

// misses returns an error if Redis does not have the change at a position.
func (r reply) misses(at replica.Position) error {
	switch {
	case r.continues:
		return nil
	case r.head.Epoch != at.Epoch || r.head.Seq <= at.Seq:
		return errLost
	}
	return fmt.Errorf("%w: the log does not have number %d", replica.ErrGap, at.Seq)
}

func parseReply(parts []any, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	if len(parts) < 4 {
		return reply{}, fmt.Errorf("%d values for an answer", len(parts))
	}
	var r reply
	last, _ := parts[1].(string)
	if r.head, err = parseID(last); err != nil {
		return reply{}, err
	}
	r.head.Epoch, _ = parts[0].(string)
	r.continues = parts[2] == "1"
	lines, _ := parts[3].([]any)
	for _, item := range lines {
		l, err := parseLine(item)
		if err != nil {
			return reply{}, err
		}
		r.changes = append(r.changes, l.Change)
	}
	return r, nil
}

// line is a line of the log.
type line struct {
	replica.Change
	prev string // the id of the line before
}

func parseLine(item any) (line, error) {
	pair, ok := item.([]any)
	if !ok || len(pair) != 2 {
		return line{}, fmt.Errorf("line %T of the log", item)
	}
	text, _ := pair[0].(string)
	at, err := parseID(text)
	if err != nil {
		return line{}, err
	}
	list, _ := pair[1].([]any)
	fields := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		name, _ := list[i].(string)
		fields[name], _ = list[i+1].(string)
	}
	record, err := parseState(fields["key"], fields["state"])
	if err != nil {
		return line{}, err
	}
	change := replica.Change{Seq: at.Seq, Mark: at.Mark, Record: record, Removed: fields["removed"] == "1"}
	return line{change, fields["prev"]}, nil
}

// id is the id of the last line of the log at a position, and parseID the opposite.
func id(at replica.Position) string { return fmt.Sprintf("%d-%d", at.Seq, at.Mark) }

func parseID(id string) (replica.Position, error) {
	number, mark, _ := strings.Cut(id, "-")
	seq, err1 := strconv.ParseUint(number, 10, 64)
	m, err2 := strconv.ParseUint(mark, 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return replica.Position{}, fmt.Errorf("line %.50q of the log: %w", id, err)
	}
	return replica.Position{Seq: seq, Mark: m}, nil
}

// parseXRead parses the answer to an XREAD of one stream, {name: lines} in RESP3 and
// [[name, lines]] in RESP2.
func parseXRead(answer any, name string) ([]line, error) {
	var list any
	switch r := answer.(type) {
	case map[any]any:
		list = r[name]
	case []any:
		if len(r) == 1 {
			if pair, ok := r[0].([]any); ok && len(pair) == 2 {
				list = pair[1]
			}
		}
	}
	items, ok := list.([]any)
	if !ok {
		return nil, fmt.Errorf("answer %T to XREAD", answer)
	}
	lines := make([]line, len(items))
	for i, item := range items {
		var err error
		if lines[i], err = parseLine(item); err != nil {
			return nil, err
		}
	}
	return lines, nil
}
