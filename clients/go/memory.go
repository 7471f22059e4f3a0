package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Memory is a memory as the node shows it.
type Memory struct {
	// Clock is the clock token: what its reader has seen.
	Clock string
	// Pending says whether a write of this node lies over it that the stream has not resolved yet.
	Pending bool
	// Score is that of a search; 0 otherwise.
	Score float64
	Resolved
}

// Resolved has the fields of a resolved memory (docs/semantics.md, section 5).
type Resolved struct {
	MemoryID         string            `json:"memory_id"`
	UserID           string            `json:"user_id"`
	SessionID        string            `json:"session_id"`
	Content          string            `json:"content"`
	Embedding        []float64         `json:"embedding"`
	Importance       float64           `json:"importance"`
	Tags             []string          `json:"tags"`
	Entities         []json.RawMessage `json:"entities"`
	Relationships    []json.RawMessage `json:"relationships"`
	Metadata         map[string]any    `json:"metadata"`
	MergedFrom       []string          `json:"merged_from"`
	MergedInto       string            `json:"merged_into"`
	Status           string            `json:"status"`
	CreatedAt        time.Time         `json:"created_at"`
	UpdatedAt        time.Time         `json:"updated_at"`
	Version          uint64            `json:"version"`
	VectorClock      map[string]uint64 `json:"vector_clock"`
	EventIDs         []string          `json:"event_ids"`
	ConflictedFields []string          `json:"conflicted_fields"`
}

// Fields are the fields that a write sets: user_id, session_id, content, embedding, importance,
// tags, entities, relationships, metadata, merged_from and expires_at. A field that is absent is
// not written, and nil clears one.
type Fields map[string]any

// Event is what a write has become.
type Event struct {
	EventID   string    `json:"event_id"`
	NodeID    string    `json:"node_id"`
	Counter   uint64    `json:"counter"`
	Version   uint64    `json:"version"`
	Timestamp time.Time `json:"timestamp"`
	// State is "pending" until Kafka has committed the event, then "published".
	State string `json:"state"`
}

// Written is the answer to a write.
type Written struct {
	Memory Memory
	Event  Event
	// Assumed says that the write carried no clock token, so that the node assumed what its caller
	// has seen.
	Assumed bool
	// Repeated says that the node had accepted the write before, under the same idempotency key.
	Repeated bool
}

// memoryAnswer is what each answer about a memory has.
type memoryAnswer struct {
	Clock   string          `json:"clock"`
	Pending bool            `json:"pending"`
	Score   float64         `json:"score"`
	Memory  json.RawMessage `json:"memory"`
}

func (a *memoryAnswer) read() (*Memory, error) {
	memory := &Memory{Clock: a.Clock, Pending: a.Pending, Score: a.Score}
	if err := json.Unmarshal(a.Memory, &memory.Resolved); err != nil {
		return nil, fmt.Errorf("the memory of the node's answer cannot be read: %w", err)
	}
	if memory.Clock == "" || memory.MemoryID == "" {
		return nil, errors.New("the node's answer about a memory has no clock token or no id: is this the address of a node?")
	}
	return memory, nil
}
