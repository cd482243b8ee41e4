package archtest

import "strings"

// checkProto wants a comment right before every method and every service.
func checkProto(m *Module, say report) {
	for _, p := range m.protos {
		before := ""
		for i, line := range strings.Split(p.text, "\n") {
			line = strings.TrimSpace(line)
			word, rest, _ := strings.Cut(line, " ")
			if (word == "rpc" || word == "service") && !strings.HasPrefix(before, "//") {
				name, _, _ := strings.Cut(strings.TrimLeft(rest, " "), "(")
				say(p.name, i+1, "%s %s has no comment; say what it does, what its errors mean and when it returns", word, strings.TrimRight(name, " {"))
			}
			before = line
		}
	}
}
