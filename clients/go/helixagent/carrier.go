package helixagent

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"helixstream/client"
)

// HelixAgent's store keeps entities and relationships beside memories, and a node keeps them as
// parts of memories. So each of them has a memory of its own here, which carries nothing else: its
// carrier. The id of the carrier follows from the id of what it carries, so that all nodes agree on
// it, and it lies in a session of its own.

const (
	// EntitySession is the session of the memories that carry entities.
	EntitySession = prefix + "entities"
	// RelationshipSession is the session of the memories that carry relationships.
	RelationshipSession = prefix + "relationships"

	// maxWrites is how often a write is tried while others write the same carrier.
	maxWrites = 5
)

// carrierKind is a kind of things that have carriers.
type carrierKind struct {
	// name is the kind in error texts, the metadata and the names of the carriers' ids.
	name string
	// session has the carriers.
	session string
	// field is the field of a carrier that has what it carries.
	field string
}

var (
	entityKind       = carrierKind{"entity", EntitySession, "entities"}
	relationshipKind = carrierKind{"relationship", RelationshipSession, "relationships"}
)

// memoryID returns the id of the carrier: the UUIDv5 in the URL namespace, as docs/clients.md says.
func (k carrierKind) memoryID(id string) string {
	namespace := [16]byte{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
	hash := sha1.New()
	hash.Write(namespace[:])
	hash.Write([]byte("helixstream:helixagent:" + k.name + ":" + id))
	return uuidText([16]byte(hash.Sum(nil)), 5)
}

// drawID draws the id of a thing that has none, a UUIDv4.
func drawID() (string, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("an id cannot be drawn: %w", err)
	}
	return uuidText(random, 4), nil
}

func uuidText(bytes [16]byte, version byte) string {
	bytes[6] = bytes[6]&0x0f | version<<4
	bytes[8] = bytes[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", bytes[:4], bytes[4:6], bytes[6:8], bytes[8:10], bytes[10:])
}

// isCarrier says whether a memory carries an entity or a relationship.
func isCarrier(memory *client.Memory) bool {
	for _, kind := range []carrierKind{entityKind, relationshipKind} {
		if memory.SessionID == kind.session && memory.Metadata[typeKey] == kind.name {
			return true
		}
	}
	return false
}

func notFound(what string) error {
	return &client.Problem{Status: http.StatusNotFound, Title: "Not found", Detail: "there is no such " + what}
}

// write replaces what a carrier carries with an object, as the node shows it now: HelixAgent's
// calls do not say what their caller has seen of it. Where the object is there already, nothing is
// written.
func (s *Store[T, M, R, S, L, E, G]) write(
	ctx context.Context, kind carrierKind, object map[string]any, content string, tags []any,
) (*client.Memory, error) {
	id, _ := object["id"].(string)
	fields := client.Fields{
		"content": content, "tags": tags, "session_id": kind.session,
		"metadata": map[string]any{typeKey: kind.name}, kind.field: []any{object},
	}
	present, err := s.client.Read(ctx, kind.memoryID(id))
	if errors.Is(err, client.ErrNotFound) {
		present = enclosed(err)
	} else if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		if present != nil {
			if isSame, err := carries(present, kind, object); err != nil || isSame {
				return present, err
			}
		}
		written, err := s.writeOver(ctx, present, kind.memoryID(id), fields)
		if err == nil {
			return &written.Memory, nil
		}
		// Another caller has written it since it was read.
		present = enclosed(err)
		if present == nil || !errors.Is(err, client.ErrConflict) || attempt == maxWrites {
			return nil, err
		}
	}
}

// writeOver writes a carrier over what was read of it; nil for nothing.
func (s *Store[T, M, R, S, L, E, G]) writeOver(
	ctx context.Context, present *client.Memory, id string, fields client.Fields,
) (*client.Written, error) {
	if present == nil {
		return s.client.Create(ctx, id, fields)
	}
	return s.client.Replace(ctx, id, present.Clock, fields)
}

// enclosed returns the memory that an error encloses: a deleted one, or one that has changed.
func enclosed(err error) *client.Memory {
	var problem *client.Problem
	if !errors.As(err, &problem) {
		return nil
	}
	return problem.Memory
}

// carries says whether a carrier has this object, and no conflict that a write of it would settle.
func carries(memory *client.Memory, kind carrierKind, object map[string]any) (bool, error) {
	raw, isThere := carried(memory, kind)
	if !isThere || len(memory.ConflictedFields) > 0 {
		return false, nil
	}
	var present any
	if json.Unmarshal(raw, &present) != nil {
		return false, nil
	}
	return equal(present, object)
}

// carried returns the object that a memory carries. A memory that is not the carrier of any of its
// objects carries nothing.
func carried(memory *client.Memory, kind carrierKind) (json.RawMessage, bool) {
	objects := memory.Entities
	if kind == relationshipKind {
		objects = memory.Relationships
	}
	for _, raw := range objects {
		var object struct{ ID string }
		if json.Unmarshal(raw, &object) == nil && kind.memoryID(object.ID) == memory.MemoryID {
			return raw, true
		}
	}
	return nil, false
}
