package benchmarks

import (
	"encoding/json"
	"slices"
	"strings"
)

// This file turns outcomes into sentences of the table.

// oursIn says what jwthttp did, with the Reasons of its responses.
func oursIn(shots []shot, outcomes []outcome) string {
	var refusals, fine []string
	for i, o := range outcomes {
		if shots[i].fine {
			fine = append(fine, shots[i].label)
			continue
		}
		text := o.refusal()
		if !o.atStart {
			text += " `" + reasonIn(o.body) + "`"
		}
		if !slices.Contains(refusals, text) {
			refusals = append(refusals, text)
		}
	}
	var parts []string
	if len(refusals) > 0 {
		parts = append(parts, "refuses, "+strings.Join(refusals, ", "))
	}
	if len(fine) > 0 {
		parts = append(parts, "admits "+strings.Join(fine, ", "))
	}
	return strings.Join(parts, ", and ")
}

// reasonIn returns the Reason in the body of a refusal.
func reasonIn(body string) string {
	var refusal struct{ Reason string }
	if err := json.Unmarshal([]byte(body), &refusal); err != nil || refusal.Reason == "" {
		return "?"
	}
	return refusal.Reason
}

// summary says what the peers did, and groups those that did the same.
func summary(names []string, shots []shot, outcomes map[string][]outcome) string {
	var phrases []string
	did := map[string][]string{}
	admits := map[string]bool{}
	for _, name := range names {
		if !isPeer(name) {
			continue
		}
		phrase, admitted := sayOutcomes(shots, outcomes[name])
		if phrase == "" {
			continue
		}
		if did[phrase] == nil {
			phrases = append(phrases, phrase)
		}
		did[phrase] = append(did[phrase], name)
		admits[phrase] = admitted
	}
	return joinGroups(phrases, did, admits)
}

// joinGroups puts the peers that admit first. It calls the largest group of those
// that refuse "others".
func joinGroups(phrases []string, did map[string][]string, admits map[string]bool) string {
	others := ""
	for _, phrase := range phrases {
		if !admits[phrase] && (others == "" || len(did[phrase]) > len(did[others])) {
			others = phrase
		}
	}
	total := 0
	for _, names := range did {
		total += len(names)
	}
	many := total > 7 // with fewer, name all of them
	if len(phrases) == 1 && many {
		return "all " + plural(phrases[0], 2)
	}
	slices.SortStableFunc(phrases, func(a, b string) int {
		rank := map[bool]int{true: 0, false: 1}
		if a == others || b == others {
			return map[bool]int{true: 1, false: -1}[a == others]
		}
		return rank[admits[a]] - rank[admits[b]]
	})
	var parts []string
	for _, phrase := range phrases {
		who := strings.Join(did[phrase], ", ")
		n := len(did[phrase])
		if phrase == others && n > 2 && many {
			who = "others"
		}
		parts = append(parts, who+" "+plural(phrase, n))
	}
	return strings.Join(parts, "; ")
}

var verbs = map[string]string{
	"admits": "admit", "refuses": "refuse", "crashes": "crash", "leaves": "leave", "removes": "remove", "sends": "send",
	"makes": "make", "allocates": "allocate", "answers": "answer",
}

// plural returns phrase with its verb for n subjects.
func plural(phrase string, n int) string {
	verb, rest, _ := strings.Cut(phrase, " ")
	comma := strings.HasSuffix(verb, ",")
	verb = strings.TrimSuffix(verb, ",")
	if n > 1 {
		if many, ok := verbs[verb]; ok {
			verb = many
		}
	}
	if comma {
		verb += ","
	}
	return strings.TrimSuffix(verb+" "+rest, " ")
}

// sayOutcomes says what one contender did with all shots of a row.
func sayOutcomes(shots []shot, outcomes []outcome) (phrase string, admitted bool) {
	var passed, refusals []string
	known := 0
	for i, o := range outcomes {
		switch {
		case o.unknown:
			continue
		case o.admitted:
			passed = append(passed, shots[i].label)
		case !slices.Contains(refusals, o.refusal()):
			refusals = append(refusals, o.refusal())
		}
		known++
	}
	slices.Sort(refusals)
	switch {
	case known == 0:
		return "", false
	case len(passed) == known:
		return "admits", true
	case len(passed) > 0:
		return "admits " + strings.Join(passed, ", "), true
	}
	return "refuses, " + strings.Join(refusals, "/"), false
}

// group is summary for phrases. Notable ones come first.
func group(names []string, say func(string) (phrase string, notable bool)) string {
	var phrases []string
	did, notable := map[string][]string{}, map[string]bool{}
	for _, name := range names {
		if !isPeer(name) {
			continue
		}
		phrase, first := say(name)
		if phrase == "" {
			continue
		}
		if did[phrase] == nil {
			phrases = append(phrases, phrase)
		}
		did[phrase], notable[phrase] = append(did[phrase], name), first
	}
	return joinGroups(phrases, did, notable)
}
