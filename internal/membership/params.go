package membership

import "time"

// Limits.
const (
	// MaxServers is how many servers a circuit may have in the eyes of one:
	// further ones are not taken in. A full directory of so many takes some 25 MB.
	MaxServers = 1 << 17
	// MaxDeparted is how many departed servers are remembered; at the limit the
	// one whose departure was learnt first is forgotten.
	MaxDeparted = 4096
	// KeepDeparted is how long they are.
	KeepDeparted = 24 * time.Hour
	// MaxData is how long the data of a Broadcast may be, in bytes.
	MaxData = 64 << 10
)

// Synchronisation (rules M4, M5, M6 and M7).
const (
	leafRecords  = 64      // where this many or fewer lie under a prefix, they are sent rather than compared
	wholeRecords = 4096    // about as many are asked for at a time by who lacks most
	partRecords  = 512     // records in one message; of the longest, that is most of maxMessage
	partBytes    = 1 << 19 // of earlier events in one message
	maxBatch     = MaxServers + MaxDeparted
	askWindow    = 64               // prefixes that are asked for at a time, of leafRecords at most
	wholeWindow  = 4                // the same, of wholeRecords: an answer never fills the queue of a link
	maxAsks      = MaxServers / 2   // prefixes asked for in one synchronisation; twice what the largest circuit takes
	maxHeld      = 4096             // messages that wait for the end of a synchronisation; then the link is given up
	maxHeldBytes = 8 << 20          // and their bytes
	syncTime     = 30 * time.Second // without an answer for this long, the link is given up
	settled      = 2 * time.Second  // digests that differ this long after their last change differ for good: an event is everywhere sooner
	resyncTime   = 5 * time.Second  // a server asks a neighbour to begin anew at most once in this time
	maxRecent    = 256              // events that are no records and are kept for those who were cut off
	recentBytes  = 1 << 20          // and their bytes
	recentTime   = 30 * time.Second // and how long: longer than it takes to replace a broken link
	epochBits    = 32               // where the incarnation that a server started with stands in the numbers of its events
	packFrom     = 1024             // messages of records longer than this, in bytes, are compressed
)

// Records (rules M9, M10 and M12).
const (
	doomTime   = 3 * time.Second // a death that a batch tells of waits this long for a refutation: longer than one takes through any circuit
	flapWindow = 2 * time.Minute // a server that refutes its death flapDeaths times in this time
	flapDeaths = 3               // holds the next refutation back
	flapHold   = 10 * time.Second
	flapMost   = time.Minute
	leaveTime  = time.Second // how long a leaver waits for its neighbours
)

// Pulses (rules M13 and M14).
const (
	pulseEvery = 1200 * time.Millisecond // a server says that it lives this often, to its neighbours in turn
	pulseGrace = 250 * time.Millisecond  // how late a pulse may be: more than a retransmission by TCP, less than anybody waits for
	firstPulse = 3 * time.Second         // how long the first may take, for its sender may have much else to do
	tryFirst   = 3                       // a link's first pulses are also tried as datagrams
	tryEvery   = 8                       // and later every so many, as long as they do not get through
	maxMissed  = 3                       // with this many lost in a row, datagrams do not get through
)

// Checks (rule M15).
const (
	probeEvery = 200 * time.Millisecond  // while a server is checked
	probeTimes = 3                       // this often, then it counts as silent
	moreProbes = 3                       // this many more on a link that lost a pulse lately
	lossOf     = 16                      // about as many pulses are looked at for the share of those that are lost
	lossWeight = 8                       // where a quarter is lost, a suspect has three times as long, and it takes three dials that come to nothing
	lostTime   = 1500 * time.Millisecond // how long a server may take to be linked again after its link broke: more than a lost SYN costs
	reprobe    = 2 * time.Second         // whoever is silent is probed this often, and a fresh connection is tried
	lookAround = time.Second             // who has not been heard for this long is checked when another falls silent
)

// Accusations and verdicts (rules M16 and M17).
const (
	turnEvery  = 20 * time.Millisecond  // an observer acts this much later than the one whose turn is before: an event is at all neighbours' neighbours sooner, even where many servers share a processor
	refuteTime = 900 * time.Millisecond // a suspect has this long to refute
	doubtTime  = 3 * time.Second        // or this long, if whoever suspects it has reason to doubt itself
	aloneTime  = 2 * time.Second        // how much longer the accuser itself waits for another to agree
	peaceFirst = 10 * time.Second       // how long an accuser who was refuted accuses the same server no more; doubles
	peaceMost  = time.Minute            // up to this
	lateness   = 500 * time.Millisecond // a Step this late makes a server doubt itself
	lateTime   = 3 * time.Second        // for this long
)
