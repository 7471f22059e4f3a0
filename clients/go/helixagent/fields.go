package helixagent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"helixstream/client"
)

// ClockKey is the key in a memory's Metadata under which the store keeps the clock token of what
// was read. The token so goes where the memory goes, also into a copy of it: an Update says what
// its caller has seen, and not what somebody else has read meanwhile. It is never written.
const ClockKey = "helixstream.clock"

// prefix begins the metadata keys that hold fields of HelixAgent's memories (docs/mem0.md).
const prefix = "helixagent."

const (
	typeKey     = prefix + "type"
	categoryKey = prefix + "category"
	summaryKey  = prefix + "summary"
	// expiresKey and expirerKey are written by the node, for the field expires_at of a write.
	expiresKey = prefix + "expires_at"
	expirerKey = prefix + "expires_by"
)

// ofNode returns a memory of the node as HelixAgent knows it.
func ofNode[T ~string](memory *client.Memory) (memoryOf[T], error) {
	metadata := maps.Clone(memory.Metadata)
	if metadata == nil {
		metadata = map[string]any{}
	}
	text := func(key string) string {
		value, isText := metadata[key].(string)
		if isText {
			delete(metadata, key)
		}
		return value
	}
	ours := memoryOf[T]{
		ID:         memory.MemoryID,
		UserID:     memory.UserID,
		SessionID:  memory.SessionID,
		Content:    memory.Content,
		Summary:    text(summaryKey),
		Type:       T(text(typeKey)),
		Category:   text(categoryKey),
		Importance: memory.Importance,
		CreatedAt:  memory.CreatedAt,
		UpdatedAt:  memory.UpdatedAt,
	}
	for _, number := range memory.Embedding {
		if math.Abs(number) > math.MaxFloat32 {
			return ours, fmt.Errorf("the embedding of memory %q has the number %g, which float32 cannot hold", ours.ID, number)
		}
		ours.Embedding = append(ours.Embedding, float32(number))
	}
	if at, err := time.Parse(time.RFC3339Nano, text(expiresKey)); err == nil {
		ours.ExpiresAt = &at
	}
	delete(metadata, expirerKey)
	metadata[ClockKey] = memory.Clock
	ours.Metadata = metadata
	return ours, nil
}

// clockOf is the token that a memory carries; empty where it carries none.
func clockOf[T ~string](memory memoryOf[T]) string {
	clock, _ := memory.Metadata[ClockKey].(string)
	return clock
}

// metadataOf returns the metadata of a memory as the node keeps them.
func metadataOf[T ~string](memory memoryOf[T]) (map[string]any, error) {
	metadata := map[string]any{}
	for key, value := range memory.Metadata {
		if slices.Contains([]string{typeKey, categoryKey, summaryKey, expiresKey, expirerKey}, key) {
			return nil, fmt.Errorf("%w: the key %s of metadata is kept for the field %s", client.ErrInvalid, key, strings.TrimPrefix(key, prefix))
		}
		// The node would take null for "clear this key".
		if key != ClockKey && value != nil {
			metadata[key] = value
		}
	}
	for key, value := range map[string]string{typeKey: string(memory.Type), categoryKey: memory.Category, summaryKey: memory.Summary} {
		if value != "" {
			metadata[key] = value
		}
	}
	return metadata, nil
}

// fieldsOf returns the other fields of a memory as the node keeps them; nil for one that it lacks.
func fieldsOf[T ~string](memory memoryOf[T]) client.Fields {
	fields := client.Fields{"content": memory.Content, "importance": memory.Importance, "user_id": nil, "session_id": nil, "embedding": nil, "expires_at": nil}
	if memory.UserID != "" {
		fields["user_id"] = memory.UserID
	}
	if memory.SessionID != "" {
		fields["session_id"] = memory.SessionID
	}
	if len(memory.Embedding) > 0 {
		fields["embedding"] = memory.Embedding
	}
	if memory.ExpiresAt != nil {
		fields["expires_at"] = memory.ExpiresAt.UTC().Format(time.RFC3339Nano)
	}
	return fields
}

// allFields returns what a new memory has.
func allFields[T ~string](memory memoryOf[T]) (client.Fields, error) {
	fields := fieldsOf(memory)
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
	metadata, err := metadataOf(memory)
	if len(metadata) > 0 {
		fields["metadata"] = metadata
	}
	return fields, err
}

// changes returns the fields that differ from what was read. Others are not written, so two callers
// who change different fields are in no conflict, and a number that Go has rounded stays as it is.
func changes[T ~string](from, to memoryOf[T]) (client.Fields, error) {
	before, after := fieldsOf(from), fieldsOf(to)
	for name, value := range after {
		if isEqual, err := equal(before[name], value); err != nil {
			return nil, err
		} else if isEqual {
			delete(after, name)
		}
	}
	old, err := metadataOf(from)
	if err != nil {
		return nil, err
	}
	metadata, err := metadataOf(to)
	if err != nil {
		return nil, err
	}
	for key, value := range old {
		now, isThere := metadata[key]
		if !isThere {
			metadata[key] = nil
		} else if isEqual, err := equal(value, now); err != nil {
			return nil, err
		} else if isEqual {
			delete(metadata, key)
		}
	}
	if len(metadata) > 0 {
		after["metadata"] = metadata
	}
	return after, nil
}

// equal compares two values as JSON, in which Go sorts the members of objects.
func equal(one, other any) (bool, error) {
	first, err := json.Marshal(one)
	if err != nil {
		return false, fmt.Errorf("%w: a field cannot be written as JSON: %w", client.ErrInvalid, err)
	}
	second, err := json.Marshal(other)
	if err != nil {
		return false, fmt.Errorf("%w: a field cannot be written as JSON: %w", client.ErrInvalid, err)
	}
	return bytes.Equal(first, second), nil
}
