package mesh

import (
	"log/slog"
	"slices"
	"time"

	"github.com/gocircuit/circuit/internal/overlay"
)

// Reserve is how many incarnations are kept at once, ahead of their use, so that
// a refutation waits for no disk.
const Reserve = 16

const (
	saveEvery = time.Second // between writes of the remembered peers, at least
	keepTime  = time.Second // for what is still to be written when the mesh is closed
)

// raised is told, with the lock held, that this server is about to tell of a new
// incarnation. When half of those that are kept are used, more are asked for; when
// all are, because the disk hangs or somebody knew of one far ahead, the server
// goes on all the same. Others would declare it dead if it waited, and restarted it
// refutes what they know of this life (rule M11).
func (m *Mesh) raised(incarnation uint64) {
	m.incarnation = incarnation
	if incarnation > m.reserved && m.reserving && !m.overdrawn {
		m.overdrawn = true
		m.log.Warn("the data directory does not answer; incarnations are told before they are kept, and a restart may be taken for a ghost for a while")
	}
	if incarnation+Reserve/2 > m.reserved {
		m.reserving = true
		notify(m.reserve)
	}
}

// wantSave lets the remembered peers be written soon.
func (m *Mesh) wantSave() { notify(m.save) }

// keep is the goroutine that writes what survives a restart: incarnations before
// they are used up, and the peers whenever they changed, at most once in
// saveEvery, and at the end. It alone waits for the disk.
func (m *Mesh) keep() {
	defer close(m.kept)
	var saved []overlay.Peer
	save, pause := m.save, (<-chan time.Time)(nil)
	for m.ctx.Err() == nil {
		select {
		case <-m.reserve:
			m.keepIncarnations()
		case <-save:
			saved = m.savePeers(saved)
			save, pause = nil, time.After(saveEvery)
		case <-pause:
			save, pause = m.save, nil
		case <-m.ctx.Done():
		}
	}
	select {
	case <-m.reserve:
		m.keepIncarnations()
	default:
	}
	select {
	case <-m.save:
		m.savePeers(saved)
	default:
	}
}

// keepIncarnations keeps the next Reserve incarnations. If that fails it is tried
// again when the next is used.
func (m *Mesh) keepIncarnations() {
	m.mu.Lock()
	upTo := m.incarnation + Reserve
	m.mu.Unlock()
	err := m.cfg.Persist(upTo)
	if err != nil {
		m.log.Error("the incarnation cannot be kept; a restart may be taken for a ghost for a while", slog.Any("error", err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reserving = false
	if err == nil {
		m.reserved, m.overdrawn = upTo, false
	}
}

// savePeers saves the peers to remember, unless they are those saved before, and
// returns those that are saved now. A server that knows nobody saves nothing: it
// would forget where it belonged.
func (m *Mesh) savePeers(saved []overlay.Peer) []overlay.Peer {
	m.mu.Lock()
	peers := m.overlay.Remembered()
	m.mu.Unlock()
	if len(peers) == 0 || slices.Equal(peers, saved) {
		return saved
	}
	if err := m.cfg.SavePeers(peers); err != nil {
		m.log.Error("the peers cannot be kept", slog.Any("error", err))
		return saved
	}
	return peers
}
