package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Outbox has the events of a node that wait for Kafka.
type Outbox struct {
	// Depth is how many they are.
	Depth int `json:"depth"`
	// Oldest is when the oldest one was accepted; nil where none waits.
	Oldest *time.Time `json:"oldest"`
}

// Peer is a node as the others know it.
type Peer struct {
	// NodeID is the writer of its events.
	NodeID string `json:"node_id"`
	// Name is the operator's name for it.
	Name string `json:"name"`
	// Status is "active", "inactive", "failed", "stopped" or "replaced" (docs/node.md).
	Status string `json:"status"`
	// LastHeartbeat is the time of its last record.
	LastHeartbeat time.Time `json:"last_heartbeat"`
}

// Node is what the record of a node says.
type Node struct {
	Peer
	// Type is "primary", "replica" or "worker".
	Type string `json:"type"`
	// SoftwareVersion is that of its program.
	SoftwareVersion string `json:"software_version"`
	// Capabilities are what it can do.
	Capabilities []string `json:"capabilities"`
	// Incarnation is drawn anew where its folder was lost, copied or rolled back.
	Incarnation string `json:"incarnation"`
	// Successor is the node that a replaced one goes on as; empty for others.
	Successor string `json:"successor"`
	// Clock has the counters of its last accepted and of its last published event.
	Clock struct {
		Counter   uint64 `json:"counter"`
		Published uint64 `json:"published"`
	} `json:"clock"`
	// Outbox has its events that wait for Kafka.
	Outbox Outbox `json:"outbox"`
	// JoinedAt is the time of its first record.
	JoinedAt time.Time `json:"joined_at"`
}

// NodeList has the nodes that have left records.
type NodeList struct {
	Nodes []Node `json:"nodes"`
	// Complete says whether the node has read the topic of the records to its end.
	Complete bool `json:"complete"`
	// Truncated says that nodes are left out, since the answer would have become too large.
	Truncated bool `json:"truncated"`
	// Unreadable counts records that the node cannot read and leaves out.
	Unreadable int `json:"unreadable"`
}

// Position is how far a node has read a partition.
type Position struct {
	Topic      string `json:"topic"`
	Partition  int32  `json:"partition"`
	NextOffset int64  `json:"next_offset"`
	// Lag is how many offsets are left; nil where Kafka has not said it yet.
	Lag *int64 `json:"lag"`
}

// Former is an earlier incarnation of a node.
type Former struct {
	NodeID    string    `json:"node_id"`
	EndedAt   time.Time `json:"ended_at"`
	Published uint64    `json:"published"`
	Reason    string    `json:"reason"`
}

// Status is the state of the node.
type Status struct {
	// NodeID is the writer of new events.
	NodeID string `json:"node_id"`
	// Counter and Published are those of the last event that was accepted, and of the last one that
	// Kafka has committed.
	Counter   uint64 `json:"counter"`
	Published uint64 `json:"published"`
	// Version is the greatest one that the node has seen or written.
	Version uint64 `json:"version"`
	Outbox  Outbox `json:"outbox"`
	// SyncRequests wait for Kafka.
	SyncRequests int `json:"sync_requests"`
	// Memories, Pending and Conflicted count the memories that the node holds, those with a write
	// that is not resolved yet, and those with a field in conflict.
	Memories   int `json:"memories"`
	Pending    int `json:"pending"`
	Conflicted int `json:"conflicted"`
	// Failed counts events that no other node will see, DeadLetters those of them that the stream
	// could not process.
	Failed      int `json:"failed"`
	DeadLetters int `json:"dead_letters"`
	// Consumed counts the records of resolved memories that were applied since the start.
	Consumed  uint64     `json:"consumed"`
	Positions []Position `json:"positions"`
	Former    []Former   `json:"former"`
	// Peers are the other nodes; a token that is bound to users sees none.
	Peers []Peer `json:"peers"`
}

// SyncRequest is what asks the stream for memories once more.
type SyncRequest struct {
	RequestID string    `json:"request_id"`
	Timestamp time.Time `json:"timestamp"`
	// UserID is whose memories are asked for; empty for all.
	UserID string `json:"user_id"`
	// Repeated says that the same request waited already, and is enough.
	Repeated bool `json:"repeated"`
}

// Restored is what has become of a snapshot.
type Restored struct {
	UserID string `json:"user_id"`
	// Memories counts those of the snapshot, Restored those that the node now shows as it has them,
	// NotSubscribed those that the node does not keep.
	Memories      int         `json:"memories"`
	Restored      int         `json:"restored"`
	NotSubscribed int         `json:"not_subscribed"`
	Request       SyncRequest `json:"request"`
}

// Nodes lists all nodes. With a token that is bound to users it is an ErrForbidden.
func (c *Client) Nodes(ctx context.Context) (*NodeList, error) {
	return fetch[NodeList](ctx, c, call{method: http.MethodGet, path: "/v1/nodes"})
}

// Status returns the state of the node.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return fetch[Status](ctx, c, call{method: http.MethodGet, path: "/v1/sync/status"})
}

// ForceSync asks the stream for the memories of a user, or of all where it is empty, once more. For
// 10 s after such a request the node refuses the next one with 429.
func (c *Client) ForceSync(ctx context.Context, userID string) (*SyncRequest, error) {
	values := url.Values{}
	set(values, "user_id", userID)
	return fetch[SyncRequest](ctx, c, call{method: http.MethodPost, path: "/v1/sync/force", query: values})
}

// Restore brings a user snapshot back: the JSON of the snapshot, or an array of all its parts. What
// the node has as new or newer stays. A token that is bound to users restores none.
func (c *Client) Restore(ctx context.Context, snapshot json.RawMessage) (*Restored, error) {
	return fetch[Restored](ctx, c, call{method: http.MethodPost, path: "/v1/restore", body: snapshot})
}

func fetch[T any](ctx context.Context, c *Client, request call) (*T, error) {
	answer, err := c.do(ctx, request)
	if err != nil {
		return nil, err
	}
	document := new(T)
	if err := decode(answer, document); err != nil {
		return nil, err
	}
	return document, nil
}
