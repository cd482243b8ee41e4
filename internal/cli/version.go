package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

const versionHelp = `  circuit version
  circuit version -o json

Usage: circuit version

Prints the version of this program.
`

func (a *app) versionCommand() command {
	return command{
		use:   "version",
		short: "print the version of this program",
		help:  versionHelp,
		local: true,
		run:   a.version,
	}
}

// versionInfo is what version prints as JSON.
type versionInfo struct {
	Version  string
	Revision string `json:",omitempty"`
	Modified bool   `json:",omitempty"`
	Go       string
	Platform string
}

func (a *app) version(context.Context, *cobra.Command, []string) error {
	v := buildVersion()
	if a.flags.json() {
		return a.printJSON(v)
	}
	_, err := fmt.Fprintf(a.stdout, "circuit %s %s %s\n", v.Version, v.Platform, v.Go)
	return err
}

// buildVersion reads the version that the Go toolchain stamped on the program.
func buildVersion() versionInfo {
	v := versionInfo{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
