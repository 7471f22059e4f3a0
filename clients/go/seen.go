package client

import (
	"container/list"
	"sync"
)

// maxSeenBytes bounds the memories that a client keeps beside their tokens. The one that was used
// least recently goes first; a write of it then carries no token, unless its caller has it.
const maxSeenBytes = 32 << 20

// seen holds what the client was last shown of each memory.
type seen struct {
	mutex sync.Mutex
	byID  map[string]*list.Element
	// order has the entries, the one used last in front.
	order *list.List
	bytes int
}

type seenEntry struct {
	id     string
	answer memoryAnswer
}

func (e *seenEntry) bytes() int { return len(e.id) + len(e.answer.Clock) + len(e.answer.Memory) + 256 }

func newSeen() *seen {
	return &seen{byID: map[string]*list.Element{}, order: list.New()}
}

func (s *seen) put(id string, answer memoryAnswer) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.remove(id)
	entry := &seenEntry{id, answer}
	s.byID[id] = s.order.PushFront(entry)
	s.bytes += entry.bytes()
	for s.bytes > maxSeenBytes && s.order.Len() > 1 {
		s.remove(s.order.Back().Value.(*seenEntry).id)
	}
}

func (s *seen) get(id string) (memoryAnswer, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	element, ok := s.byID[id]
	if !ok {
		return memoryAnswer{}, false
	}
	s.order.MoveToFront(element)
	return element.Value.(*seenEntry).answer, true
}

func (s *seen) forget(id string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.remove(id)
}

// remove needs the mutex.
func (s *seen) remove(id string) {
	if element, ok := s.byID[id]; ok {
		s.bytes -= element.Value.(*seenEntry).bytes()
		s.order.Remove(element)
		delete(s.byID, id)
	}
}
