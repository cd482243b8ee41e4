package cli

import "github.com/gocircuit/circuit/client"

const mkleaveHelp = `  circuit mk@leave /X88550014d4c82e4d/gone && circuit recv /X88550014d4c82e4d/gone
  circuit recv --all -o json $S | jq -r 'select(.Change == "failed") | .Address'

Usage: circuit mk@leave PATH

Makes a subscription at a free anchor that tells of each server that leaves the
circuit, or fails, from now on. Otherwise it is as one that mk@join makes.
`

func (a *app) mkleaveCommand() command {
	return a.subscribeCommand("mk@leave", "subscribe to servers that leave", mkleaveHelp, (*client.Anchor).MakeOnLeave)
}
