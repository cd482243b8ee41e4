package overlay

import (
	"time"

	"github.com/gocircuit/circuit/internal/directory"
)

// Limits.
const (
	MaxSeeds      = 64                                           // seeds at a time; further ones fail
	MaxDials      = maxMemberDials + maxSeedDials + maxLostDials // dials under way at a time; further ones wait
	MaxLinks      = 4096                                         // links at a time; further ones are closed
	MaxRemembered = 1024                                         // failed servers to try again; at the limit the earliest is forgotten
	KeepFailed    = 24 * time.Hour                               // how long they are tried
)

// The shares of MaxDials: a dial to a host that is gone takes seconds, and must
// not hold up those that have another purpose.
const (
	maxMemberDials = 64 // twice what the four rings can want at once when every second server is gone
	maxSeedDials   = 16
	maxLostDials   = 16
)

// The neighbours (rules O1 and O11).
const (
	// everybody: a circuit of at most this many other servers is a full mesh,
	// for the rings would leave out next to none of its links.
	everybody = 2 * directory.Rings
	// maxReach is how many candidates of one direction of a ring are wanted at
	// most: if nine servers of ten are gone, one of 32 is there in 29 cases of
	// 30, and each server has eight directions.
	maxReach = 32
	// patience is how long a candidate may take to be linked before the search
	// goes on: more than a dial over any distance, less than it takes to declare
	// a server dead.
	patience = 500 * time.Millisecond
	// settleMin and settleMax are how long a newly wanted neighbour is not
	// dialled by a server that has a link already: a storm of joins moves the
	// rings on within that time. Nor is it before nobody has joined for settleMax,
	// or for stormMost times as long somebody has.
	settleMin = 20 * time.Millisecond
	settleMax = 100 * time.Millisecond
	stormMost = 10
	// linger is how long a link is kept that this server does not want: for the
	// view may change back, and others may not know yet what made it superfluous.
	linger = 500 * time.Millisecond
	// paceTime is how long it counts that dials were slow.
	paceTime = 30 * time.Second
	// doubtTime is how long a link that is reported silent counts for nothing:
	// as long as it takes to decide whether its server is dead.
	doubtTime = 5 * time.Second
)

// The times of links (rules O4, O6 and O9).
const (
	openTime      = 5 * time.Second  // a link that is not in use after this is closed
	challengeTime = 2 * time.Second  // how long a server has to prove that it lives
	guestTime     = 60 * time.Second // how long a server that is not in the circuit keeps its link
	// leaveTime is how long one that leaves does: whoever leaves at the same time
	// may have nobody else to tell it to.
	leaveTime = 200 * time.Millisecond
)

// The times of dialling (rules O2 and O3).
const (
	firstRetry = 400 * time.Millisecond // before jitter, which takes off up to half
	earlyRetry = time.Second            // longest wait while the wish is young
	early      = 15 * time.Second       // how long it is young
	lateRetry  = 30 * time.Second       // longest wait afterwards
	turnMin    = 500 * time.Millisecond // how long, at least, the higher ID leaves it to the lower to dial
	turnMax    = time.Second            // and at most
	standMin   = 5 * time.Millisecond   // the same, where the wish may be one-sided
	standMax   = 15 * time.Millisecond
)

// The lost (rule O8). All servers of a circuit together try one in lostEvery,
// whatever their number, so that the two sides of a partition meet within
// seconds of its end, and the dead cost next to nothing.
const (
	lostEvery = time.Second // on average
	lostMost  = 3           // a server's wait is at most so many times its average
	// A server that has just started and is alone tries three at once, so that
	// a circuit all of whose servers start at once is one again (a random graph
	// in which everybody chooses two or more is connected, as a rule); then a few
	// more, for some may be gone for good; and then a few a second.
	rushFirst = 3
	rushCount = 16
	rushEvery = 30 * time.Millisecond
	soonEvery = 300 * time.Millisecond
)
