package cli

import (
	"fmt"
	"testing"

	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/internal/server"
)

// TestTooManyClients runs a command against a server that has as many clients
// as it may.
func TestTooManyClients(t *testing.T) {
	const most = 8
	s := startServer(t, server.Config{Limits: server.Limits{Connections: most}})
	url := s.URL().Secret()
	for range most {
		c, err := client.Dial(t.Context(), url, client.WithEnv(func(string) string { return "" }))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	words := fmt.Sprintf("circuit: dial: %s: the server has %d connections of clients and takes no more; ", s.URL().Address(), most)
	program{}.fails(t, exitFailed, words, "ls", "-d", url, "/")
}
