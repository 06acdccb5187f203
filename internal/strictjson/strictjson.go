// Package strictjson parses JSON objects so that any two readers of the same
// bytes see the same members. It rejects what encoding/json tolerates and other
// parsers treat differently: a duplicate name, names that differ by case only,
// invalid UTF-8, a lone surrogate, and a number out of float64's range. It also
// rejects nesting deeper than [MaxDepth].
//
// When Go 1.27 is the oldest supported release, encoding/json/v2 can replace
// this package.
package strictjson

import (
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxDepth is the deepest nesting that [Parse] accepts. The object itself is the
// first level.
const MaxDepth = 32

// Kind is the JSON type of a [Value].
type Kind uint8

// The kinds of a Value. The zero Kind is that of a member the object does not have.
const (
	Absent Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

// Value is the value of one member. Its zero value is an absent member.
type Value struct {
	Kind    Kind
	escaped bool // Text has a backslash

	Text string // the input, including quotes and brackets
}

// Errors that [Parse] returns. None of them quotes the input.
var (
	errSyntax    = errors.New("invalid JSON object")
	errUTF8      = errors.New("invalid UTF-8 or lone surrogate")
	errDuplicate = errors.New("duplicate member name")
	errCase      = errors.New("member name differs from a known name by case only")
	errDepth     = errors.New("nesting is too deep")
	errNumber    = errors.New("number out of range")
	errTrailing  = errors.New("data after the JSON object")
)

// Names are the members that [Parse] looks for. They are immutable and safe for
// concurrent use.
type Names struct {
	strict    int // members of a lower index must be spelled exactly
	size      int // number of members
	spellings map[string]int
}

// NewNames returns the Names with the strict ones, in their order, and after
// them the others. Strict names are lower-case ASCII, and no other spelling of
// one is accepted. The others are found without case, as encoding/json finds
// them; one that differs from an earlier name by case only is the same member.
func NewNames(strict, others []string) *Names {
	n := &Names{strict: len(strict), size: len(strict), spellings: make(map[string]int)}
	for i, name := range strict {
		n.spellings[name] = i
	}
	for _, name := range others {
		i := n.Index(name)
		if i < 0 {
			i = n.size
			n.size++
			n.spellings[fold(name)] = i
		}
		if i >= n.strict {
			n.spellings[name] = i
		}
	}
	return n
}

// lookUp returns the index of the member that is spelled like that, or -1.
func (n *Names) lookUp(name string) int {
	if i, ok := n.spellings[name]; ok {
		return i
	}
	return -1
}

// Len returns the number of members.
func (n *Names) Len() int { return n.size }

// Index returns the index of a name, however it is spelt, or -1.
func (n *Names) Index(name string) int { return n.lookUp(fold(name)) }

// find returns the index of the member called name, or -1 and the folded name,
// which is the same for two names that encoding/json could confuse.
func (n *Names) find(name string) (i int, folded string, err error) {
	if i := n.lookUp(name); i >= 0 {
		return i, name, nil
	}
	folded = fold(name)
	if folded == name {
		return -1, name, nil
	}
	i = n.lookUp(folded)
	if i >= 0 && i < n.strict {
		return -1, folded, errCase
	}
	return i, folded, nil
}

// Parse checks that text is one complete and unambiguous JSON object, and stores
// the values of the members in names at their indexes of values. The length of
// values must be names.Len().
//
// At the top level no two names, and no name and a strict one, may differ by
// case only: encoding/json matches names without case and would let "Exp"
// overwrite "exp".
func Parse(text string, names *Names, values []Value) error {
	// RFC 8259 §8.1. One check up front: strings need no other then, and
	// outside of strings every byte above 0x7f is a syntax error.
	if !utf8.ValidString(text) {
		return errUTF8
	}
	clear(values)
	p := parser{text: text}
	p.skipSpace()
	if p.peek() != '{' {
		return errSyntax
	}
	if err := p.object(1, names, values); err != nil {
		return err
	}
	p.skipSpace()
	if p.pos != len(text) {
		return errTrailing
	}
	return nil
}

type parser struct {
	text string
	pos  int

	// The names of the members of all open objects, the innermost last. The
	// first ones are in an array, which stays on the stack.
	n    int
	few  [24]string
	many []string
}

func (p *parser) push(name string) {
	switch {
	case p.many != nil:
		p.many = append(p.many[:p.n], name)
	case p.n < len(p.few):
		p.few[p.n] = name
	default:
		p.many = append(append(make([]string, 0, 4*len(p.few)), p.few[:]...), name)
	}
	p.n++
}

// pop removes the names from base on, and reports one that occurs twice.
func (p *parser) pop(base int) error {
	names := p.few[:]
	if p.many != nil {
		names = p.many
	}
	err := distinct(names[base:p.n])
	p.n = base
	return err
}

// peek returns the next byte, or 0 at the end. The JSON grammar has no place for
// a zero byte.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) skipSpace() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// next skips white space, and c if it comes next.
func (p *parser) next(c byte) bool {
	p.skipSpace()
	if p.peek() != c {
		return false
	}
	p.pos++
	return true
}

// object reads an object whose opening brace is next. Only the outermost one
// has names to look for; for the others names is nil.
func (p *parser) object(depth int, names *Names, values []Value) error {
	base := p.n
	p.pos++ // the brace
	if p.next('}') {
		return nil
	}
	for {
		p.skipSpace()
		name, err := p.name()
		if err != nil {
			return err
		}
		if !p.next(':') {
			return errSyntax
		}
		v, err := p.value(depth)
		if err != nil {
			return err
		}
		i := -1
		if names != nil {
			if i, name, err = names.find(name); err != nil {
				return err
			}
		}
		switch {
		case i < 0:
			p.push(name)
		case values[i].Kind != Absent:
			return errDuplicate
		default:
			values[i] = v
		}
		if p.next(',') {
			continue
		}
		if !p.next('}') {
			return errSyntax
		}
		return p.pop(base)
	}
}

// name reads a member's name.
func (p *parser) name() (string, error) {
	if p.peek() != '"' {
		return "", errSyntax
	}
	start := p.pos
	escaped, err := p.str()
	if err != nil {
		return "", err
	}
	v := Value{Kind: String, Text: p.text[start:p.pos], escaped: escaped}
	name, _ := v.Unquote()
	return name, nil
}

// distinct reports a name that occurs twice. It may reorder names: sorting
// many keeps an attacker's thousand members from costing a million comparisons.
func distinct(names []string) error {
	if len(names) > 16 {
		slices.Sort(names)
		for i := 1; i < len(names); i++ {
			if names[i] == names[i-1] {
				return errDuplicate
			}
		}
		return nil
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return errDuplicate
		}
	}
	return nil
}

// fold returns the same text for all names that differ by case only, in the
// sense of Unicode's simple folding, which encoding/json uses. Lower-case ASCII
// is returned unchanged.
func fold(name string) string {
	plain := true
	for i := range len(name) {
		if c := name[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			plain = false
			break
		}
	}
	if plain {
		return name
	}
	folded := make([]rune, 0, len(name))
	for _, r := range name {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		if 'A' <= least && least <= 'Z' {
			least += 'a' - 'A'
		}
		folded = append(folded, least)
	}
	return string(folded)
}

// value reads any value inside an object or array of the given depth.
func (p *parser) value(depth int) (Value, error) {
	p.skipSpace()
	v := Value{}
	start := p.pos
	var err error
	switch c := p.peek(); c {
	case '{':
		v.Kind = Object
		if depth == MaxDepth {
			return v, errDepth
		}
		err = p.object(depth+1, nil, nil)
	case '[':
		v.Kind = Array
		if depth == MaxDepth {
			return v, errDepth
		}
		err = p.array(depth + 1)
	case '"':
		v.Kind = String
		v.escaped, err = p.str()
	case 't':
		v.Kind, err = Bool, p.literal("true")
	case 'f':
		v.Kind, err = Bool, p.literal("false")
	case 'n':
		v.Kind, err = Null, p.literal("null")
	default:
		v.Kind, err = Number, p.number()
	}
	v.Text = p.text[start:p.pos]
	return v, err
}

func (p *parser) array(depth int) error {
	p.pos++ // the bracket
	if p.next(']') {
		return nil
	}
	for {
		if _, err := p.value(depth); err != nil {
			return err
		}
		if p.next(',') {
			continue
		}
		if !p.next(']') {
			return errSyntax
		}
		return nil
	}
}

func (p *parser) literal(word string) error {
	if len(p.text)-p.pos < len(word) || p.text[p.pos:p.pos+len(word)] != word {
		return errSyntax
	}
	p.pos += len(word)
	return nil
}

// number reads a number (RFC 8259 §6). One that overflows a float64 is an error
// (RFC 7493 §2.2), because parsers disagree about its value.
func (p *parser) number() error {
	start := p.pos
	exponent := false
	if p.peek() == '-' {
		p.pos++
	}
	if p.peek() == '0' {
		p.pos++
	} else if !p.digits() {
		return errSyntax
	}
	if p.peek() == '.' {
		p.pos++
		if !p.digits() {
			return errSyntax
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		exponent = true
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		if !p.digits() {
			return errSyntax
		}
	}
	if text := p.text[start:p.pos]; exponent || len(text) > 300 {
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return errNumber
		}
	}
	return nil
}

func (p *parser) digits() bool {
	start := p.pos
	for c := p.peek(); '0' <= c && c <= '9'; c = p.peek() {
		p.pos++
	}
	return p.pos > start
}

// str reads a string whose opening quote is next.
func (p *parser) str() (escaped bool, err error) {
	p.pos++ // the quote
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		p.pos++
		switch {
		case c == '"':
			return escaped, nil
		case c == '\\':
			escaped = true
			if err := p.escape(); err != nil {
				return true, err
			}
		case c < 0x20:
			return escaped, errSyntax
		}
	}
	return escaped, errSyntax
}

// escape reads what follows a backslash, a surrogate pair as a whole.
func (p *parser) escape() error {
	switch p.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		p.pos++
		return nil
	case 'u':
		p.pos++
	default:
		return errSyntax
	}
	unit, ok := p.hex4()
	if !ok {
		return errSyntax
	}
	switch {
	case unit < 0xd800 || unit > 0xdfff:
		return nil
	case unit > 0xdbff: // a low surrogate comes second only
		return errUTF8
	}
	if p.literal(`\u`) != nil {
		return errUTF8
	}
	if low, ok := p.hex4(); !ok || low < 0xdc00 || low > 0xdfff {
		return errUTF8
	}
	return nil
}

func (p *parser) hex4() (uint64, bool) {
	if len(p.text)-p.pos < 4 {
		return 0, false
	}
	// Sixteen bits of base 16: ParseUint takes neither a sign nor an underscore here.
	unit, err := strconv.ParseUint(p.text[p.pos:p.pos+4], 16, 16)
	p.pos += 4
	return unit, err == nil
}

// Unquote returns the text of a string, and false for any other value.
func (v Value) Unquote() (string, bool) {
	if v.Kind != String {
		return "", false
	}
	if !v.escaped {
		return v.Text[1 : len(v.Text)-1], true
	}
	var s string
	// The text is a JSON string without a lone surrogate, so this neither
	// fails nor replaces anything.
	_ = json.Unmarshal([]byte(v.Text), &s)
	return s, true
}

// Strings returns the elements of an array of strings, and false for any other
// value. Unlike in encoding/json, null is not a string.
func (v Value) Strings() ([]string, bool) {
	if v.Kind != Array {
		return nil, false
	}
	p := parser{text: v.Text, pos: 1}
	elements := []string{}
	if p.next(']') {
		return elements, true
	}
	for {
		// Everything here was read once already, so it is well formed.
		element, _ := p.value(0)
		s, ok := element.Unquote()
		if !ok {
			return nil, false
		}
		elements = append(elements, s)
		if !p.next(',') {
			return elements, true
		}
	}
}

// Members returns the names and values of an object's members, and none for any
// other value.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind != Object {
			return
		}
		p := parser{text: v.Text, pos: 1}
		if p.next('}') {
			return
		}
		for {
			// Everything here was read once already, so it is well formed.
			p.skipSpace()
			name, _ := p.name()
			p.next(':')
			member, _ := p.value(0)
			if !yield(name, member) || !p.next(',') {
				return
			}
		}
	}
}

// Float returns a number's value, and false for any other value.
func (v Value) Float() (float64, bool) {
	if v.Kind != Number {
		return 0, false
	}
	if n, err := strconv.ParseInt(v.Text, 10, 64); err == nil { // rounded as ParseFloat does, in a third of the time
		return float64(n), true
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	return f, err == nil
}

// Integer returns the text of a number without fraction and exponent, and false
// for any other value.
func (v Value) Integer() (string, bool) {
	if v.Kind != Number || strings.ContainsAny(v.Text, ".eE") {
		return "", false
	}
	return v.Text, true
}
