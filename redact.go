package circuit

import "strings"

// shortestKey is how long text must be to be taken for a key that may have lost
// some of its characters.
const shortestKey = 30

// Redact returns s without what is, or was meant to be, a key: what stands
// before the @ of a URL, and any run of 30 or more of the characters that keys
// are made of. Such a run counts as a name, and stays, if it has letters of one
// case only, as hardly a key has, unless an @ follows. It is for messages that
// repeat what a user gave.
func Redact(s string) string { return redactRuns(redactURLs(s)) }

// redactURLs redacts what stands before the @ of URLs.
func redactURLs(s string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, "://")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		b.WriteString("://")
		end := strings.IndexAny(after, " \t\r\n\"'<>")
		if end < 0 {
			end = len(after)
		}
		if at := strings.LastIndexByte(after[:end], '@'); at >= 0 {
			b.WriteString(keyPlaceholder)
			after = after[at:]
		}
		s = after
	}
}

// redactRuns redacts what may be a key by itself.
func redactRuns(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := 0
		for n < len(s) && inKey(s[n]) {
			n++
		}
		if mayBeKey(s[:n]) || n >= shortestKey && strings.HasPrefix(s[n:], "@") {
			b.WriteString(keyPlaceholder)
		} else {
			b.WriteString(s[:n])
		}
		if n < len(s) {
			b.WriteByte(s[n])
			n++
		}
		s = s[n:]
	}
	return b.String()
}

// mayBeKey reports whether a run may be a key's. One key in a billion has
// letters of one case only.
func mayBeKey(run string) bool {
	return len(run) >= shortestKey && strings.ToLower(run) != run && strings.ToUpper(run) != run
}

// inKey reports whether c may stand in a key's text.
func inKey(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
