package helixagent

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"helixstream/client"
)

// Unsupported is the error of a part of a call that the node has nothing for. Nothing was written.
// It is an errors.ErrUnsupported.
type Unsupported struct {
	// Call is the name of the call.
	Call string
	// What names the part that is not supported.
	What string
}

func (u *Unsupported) Error() string {
	return fmt.Sprintf("a node of helixstream has nothing for %s of %s", u.What, u.Call)
}

// Is reports whether the kind is errors.ErrUnsupported.
func (u *Unsupported) Is(kind error) bool { return kind == errors.ErrUnsupported }

// Store keeps HelixAgent's memories on a node. Its types are those of HelixAgent's package memory:
// T is MemoryType, M Memory, R TimeRange, S SearchOptions, L ListOptions, E Entity and G
// Relationship. Several goroutines may use it at a time.
type Store[T ~string, M MemoryShape[T], R TimeRangeShape, S SearchShape[T, R], L ListShape, E EntityShape, G RelationshipShape] struct {
	client *client.Client
}

// NewStore makes a store on the node of a client.
func NewStore[T ~string, M MemoryShape[T], R TimeRangeShape, S SearchShape[T, R], L ListShape, E EntityShape, G RelationshipShape](
	node *client.Client,
) *Store[T, M, R, S, L, E, G] {
	return &Store[T, M, R, S, L, E, G]{node}
}

// Add creates a memory, and writes the node's answer into it: its id where it had none, its times,
// and its clock token (ClockKey). A memory that is there is a client.ErrConflict.
func (s *Store[T, M, R, S, L, E, G]) Add(ctx context.Context, memory *M) error {
	given, err := readable[T](memory, "Add")
	if err != nil {
		return err
	}
	fields, err := allFields(given)
	if err != nil {
		return err
	}
	written, err := s.client.Create(ctx, given.ID, fields)
	if err != nil {
		return err
	}
	return answerInto(memory, &written.Memory, ofNode[T])
}

// Get reads a memory. One that is unknown, deleted or merged is a client.ErrNotFound.
func (s *Store[T, M, R, S, L, E, G]) Get(ctx context.Context, id string) (*M, error) {
	memory, err := s.client.Read(ctx, id)
	if err != nil {
		return nil, err
	}
	if isCarrier(memory) {
		return nil, notFound("a memory")
	}
	return s.toTheirs(memory)
}

// Update writes the fields that differ from what the caller has read, and writes the node's answer
// into the memory. What the caller has read is said by the clock token in the memory's metadata
// (ClockKey). A memory without it has seen what this store was last shown of it, or, where that is
// nothing, what the node shows.
//
// Where the memory has changed since, in a way of which its caller may not know, the error is a
// client.ErrConflict, and Present returns the memory as it is now.
func (s *Store[T, M, R, S, L, E, G]) Update(ctx context.Context, memory *M) error {
	given, err := readable[T](memory, "Update")
	if err != nil {
		return err
	}
	read, err := s.lastRead(ctx, given.ID, clockOf(given))
	if err != nil {
		return err
	}
	before, err := ofNode[T](read)
	if err != nil {
		return err
	}
	fields, err := changes(before, given)
	if err != nil {
		return err
	}
	if len(fields) == 0 {
		// Nothing is to be written, but the memory must be there.
		if read, err = s.client.Read(ctx, given.ID); err != nil {
			return err
		}
		return answerInto(memory, read, ofNode[T])
	}
	written, err := s.client.Update(ctx, given.ID, read.Clock, fields)
	if err != nil {
		return err
	}
	return answerInto(memory, &written.Memory, ofNode[T])
}

// Delete deletes a memory, by a caller who has seen what this store was last shown of it, or, where
// that is nothing, what the node shows.
func (s *Store[T, M, R, S, L, E, G]) Delete(ctx context.Context, id string) error {
	// The node accepts a repeated delete, so an unknown or deleted memory is looked for here.
	read, err := s.lastRead(ctx, id, "")
	if err != nil {
		return err
	}
	_, err = s.client.Delete(ctx, id, read.Clock)
	return err
}

// Present returns the memory that an error encloses, as the node shows it now; false where it
// encloses none. To settle a conflict, look at this memory and write it again.
func (s *Store[T, M, R, S, L, E, G]) Present(err error) (*M, bool) {
	var problem *client.Problem
	if !errors.As(err, &problem) || problem.Memory == nil {
		return nil, false
	}
	memory, err := s.toTheirs(problem.Memory)
	return memory, err == nil
}

// lastRead returns the memory as the holder of a clock token has read it.
func (s *Store[T, M, R, S, L, E, G]) lastRead(ctx context.Context, id, clock string) (*client.Memory, error) {
	seen, isThere := s.client.Seen(id)
	if isThere && !isCarrier(seen) && (clock == "" || clock == seen.Clock) {
		return seen, nil
	}
	present, err := s.client.Read(ctx, id)
	if err == nil && isCarrier(present) {
		return nil, notFound("a memory")
	}
	if err != nil || clock == "" || clock == present.Clock {
		return present, err
	}
	// Which fields the caller has changed cannot be said any more, since the node shows another
	// state by now.
	return nil, &client.Problem{
		Status: http.StatusConflict,
		Title:  "The memory has changed",
		Detail: "the memory was read before its present state; read it again, and then write it",
		Memory: present,
	}
}

func (s *Store[T, M, R, S, L, E, G]) toTheirs(memory *client.Memory) (*M, error) {
	ours, err := ofNode[T](memory)
	if err != nil {
		return nil, err
	}
	theirs := M(ours)
	return &theirs, nil
}

// readable returns a memory that a call is to write.
func readable[T ~string, M MemoryShape[T]](memory *M, name string) (memoryOf[T], error) {
	if memory == nil {
		return memoryOf[T]{}, fmt.Errorf("%w: %s has no memory", client.ErrInvalid, name)
	}
	given := memoryOf[T](*memory)
	if given.SessionID == EntitySession || given.SessionID == RelationshipSession {
		return given, fmt.Errorf("%w: the session %s is kept for the calls of entities and relationships", client.ErrInvalid, given.SessionID)
	}
	return given, nil
}

// answerInto writes what the node has answered into the caller's memory.
func answerInto[T ~string, M MemoryShape[T]](memory *M, answer *client.Memory, read func(*client.Memory) (memoryOf[T], error)) error {
	ours, err := read(answer)
	if err != nil {
		return err
	}
	*memory = M(ours)
	return nil
}
