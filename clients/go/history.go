package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// History is a page of how a memory has become what it is (docs/node.md, "History").
type History struct {
	MemoryID string `json:"memory_id"`
	// States are the resolved states that the node has applied, the latest first.
	States []State `json:"states"`
	// Events are the node's last own events to the memory, the oldest first; on the first page alone.
	Events []PastEvent `json:"events"`
	// Next is the cursor of the next page, of earlier states; empty for the last one.
	Next string `json:"next"`
	// Complete says whether the node still keeps the first state that it has applied.
	Complete bool `json:"complete"`
	// Truncated says that there are earlier own events, which are left out.
	Truncated bool `json:"truncated"`
}

// State is a resolved state of a memory.
type State struct {
	// Number counts the states of the memory from 1.
	Number    uint64    `json:"number"`
	AppliedAt time.Time `json:"applied_at"`
	// Source is "stream", or "restore" where a client has restored it.
	Source           string            `json:"source"`
	Status           string            `json:"status"`
	UserID           string            `json:"user_id"`
	SessionID        string            `json:"session_id"`
	MergedInto       string            `json:"merged_into"`
	UpdatedAt        time.Time         `json:"updated_at"`
	Version          uint64            `json:"version"`
	VectorClock      map[string]uint64 `json:"vector_clock"`
	ConflictedFields []string          `json:"conflicted_fields"`
	// Changed are the fields that differ from the state before.
	Changed []FieldChange `json:"changed"`
	// EventIDs are the events of which none has seen another one.
	EventIDs []string `json:"event_ids"`
	// Entered are those of them that the state before does not have, and Superseded those of the
	// state before that are gone. Both are nil where that is not known.
	Entered    []string `json:"entered"`
	Superseded []string `json:"superseded"`
	// Follows says whether the state holds all events of the state before; nil where that is not
	// known.
	Follows *bool `json:"follows"`
	// Cut names the members that are not whole, because they would have become too large.
	Cut []string `json:"cut"`
}

// FieldChange is a field of a state that differs from the state before.
type FieldChange struct {
	Path string `json:"path"`
	// Value is the JSON of the field; nil where it was removed, or is not kept.
	Value json.RawMessage `json:"value"`
	// Removed says that the memory has the field no longer.
	Removed bool `json:"removed"`
	// Bytes is the size of a value that is not kept.
	Bytes *int `json:"bytes"`
}

// PastEvent is an event of the node to a memory, and its place in the order of events.
type PastEvent struct {
	Event
	EventType   string            `json:"event_type"`
	Fields      []string          `json:"fields"`
	VectorClock map[string]uint64 `json:"vector_clock"`
	// Reason is why it has failed.
	Reason string `json:"reason"`
	// Resolved says whether the resolved memory that the node has covers it.
	Resolved bool `json:"resolved"`
	// Supersedes are the own events before it that it supersedes directly.
	Supersedes []string `json:"supersedes"`
	// SeenState is the number of the last state that it has seen, InState that of the first one that
	// lists it; nil where there is none.
	SeenState *uint64 `json:"seen_state"`
	InState   *uint64 `json:"in_state"`
}

// HistoryQuery says which page of a history is read.
type HistoryQuery struct {
	// Limit of the states of a page: 50 where it is 0, at most 100.
	Limit int
	// Cursor is the Next of the page before.
	Cursor string
}

// History reads how a memory has become what it is.
func (c *Client) History(ctx context.Context, memoryID string, query HistoryQuery) (*History, error) {
	path, err := memoryPath(memoryID)
	if err != nil {
		return nil, err
	}
	values := url.Values{}
	set(values, "cursor", query.Cursor)
	if query.Limit != 0 {
		values.Set("limit", strconv.Itoa(query.Limit))
	}
	return fetch[History](ctx, c, call{method: http.MethodGet, path: path + "/history", query: values})
}

// Snapshot takes a snapshot of a user, as Restore takes it: the JSON of one, or an array of its
// parts. Writes of the node that are not resolved yet are not in it.
func (c *Client) Snapshot(ctx context.Context, userID string) (json.RawMessage, error) {
	if userID == "" || userID == "." || userID == ".." {
		return nil, fmt.Errorf("%w: the user %q cannot be part of a URL's path", ErrInvalid, userID)
	}
	request := call{method: http.MethodGet, path: "/v1/users/" + url.PathEscape(userID) + "/snapshot", maxBytes: maxSnapshotBytes}
	answer, err := c.do(ctx, request)
	if err != nil {
		return nil, err
	}
	if !json.Valid(answer.body) {
		return nil, fmt.Errorf("the node has broken off the snapshot of user %q: take it again", userID)
	}
	return json.RawMessage(answer.body), nil
}
