package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// streamSilence is three times the time after which the node writes a comment where nothing else is
// to be written.
const streamSilence = 30 * time.Second

// EventID is the id of an event of a stream of changes.
type EventID string

// LastEventID returns the id as FollowQuery wants it.
func (id EventID) LastEventID() string { return string(id) }

// Change is what a stream of changes yields: an *Opened, *Changed, *Left, *Reset or *Interrupted.
type Change interface {
	// LastEventID is the id behind which a later Follow goes on.
	LastEventID() string
}

// Opened says that the stream begins.
type Opened struct {
	EventID
	// Resumed says that it goes on behind the last event, and nothing is missing.
	Resumed bool
}

// Changed has a memory after its change; also a deleted or merged one, with its Status.
type Changed struct {
	EventID
	// Memory is what a read would have answered. The client does not take it for read: a write that
	// has seen it carries its Clock.
	Memory *Memory
}

// Left says that a memory no longer is among those that the query asks for.
type Left struct {
	EventID
	MemoryID string
}

// Reset says that changes are missing: list the memories anew. The stream goes on from now.
type Reset struct {
	EventID
	Reason string
}

// Interrupted says that the connection was lost, or could not be made. The stream is opened again
// after a pause, for as long as its loop goes on, and goes on behind the last event.
type Interrupted struct {
	EventID
	Err error
}

// FollowQuery says which changes are followed.
type FollowQuery struct {
	// UserID and SessionID leave out the memories of others; empty means all.
	UserID, SessionID string
	// LastEventID is the id of the last event that the caller has dealt with; empty to begin now.
	LastEventID string
}

// Follow yields each change of a memory, in the order in which the node makes them. It comes back
// by itself after an Interrupted, with the id of the last event, so that no change is missing where
// no Reset says so. It ends when the loop does, or with an error: the context's, or a Problem that
// will not pass, such as ErrUnauthorized.
//
// To begin, wait for Opened, and then list the memories: no change lies between the two.
func (c *Client) Follow(ctx context.Context, query FollowQuery) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		stream := changeStream{client: c, query: query, last: EventID(query.LastEventID)}
		failures := 0
		for {
			hasArrived, err := stream.run(ctx, yield)
			if err == nil {
				return
			}
			if hasArrived {
				failures = 0
			}
			failures++
			var problem *Problem
			isProblem := errors.As(err, &problem)
			var fault *unsendable
			switch {
			case ctx.Err() != nil:
				err = ctx.Err()
			case errors.As(err, &fault):
				err = fault.err
			case !isProblem || problem.mayPass():
				if !yield(&Interrupted{stream.last, err}, nil) {
					return
				}
				if err = c.pause(ctx, failures, problem); err == nil {
					continue
				}
			}
			yield(nil, err)
			return
		}
	}
}

// changeStream is a connection to the stream of changes.
type changeStream struct {
	client *Client
	query  FollowQuery
	// last is the id of the last event that has arrived whole.
	last   EventID
	body   io.ReadCloser
	lines  *bufio.Reader
	alarm  *time.Timer
	cancel context.CancelCauseFunc
	ctx    context.Context
}

// run opens the stream and yields its changes. It returns whether one has arrived, and how it has
// ended: no error where the loop of the caller has.
func (s *changeStream) run(ctx context.Context, yield func(Change, error) bool) (bool, error) {
	defer s.close()
	hasArrived := false
	if err := s.open(ctx); err != nil {
		return false, err
	}
	for {
		change, err := s.next()
		if err != nil {
			return hasArrived, err
		}
		hasArrived = true
		if !yield(change, nil) {
			return true, nil
		}
	}
}

var errSilent = errors.New("nothing has arrived on the stream for too long, not even a comment")

func (s *changeStream) open(ctx context.Context) error {
	values := url.Values{}
	set(values, "user_id", s.query.UserID)
	set(values, "session_id", s.query.SessionID)
	token, err := s.client.readToken(ctx)
	if err != nil {
		return &unsendable{err}
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.alarm = time.AfterFunc(s.client.silence, func() { s.cancel(errSilent) })
	message, err := s.client.message(s.ctx, call{method: http.MethodGet, path: "/v1/events", query: values}, token)
	if err != nil {
		return &unsendable{err}
	}
	message.Header.Set("Accept", "text/event-stream")
	if s.last != "" {
		if strings.ContainsFunc(string(s.last), func(char rune) bool { return char < ' ' || char > '~' }) {
			return &unsendable{fmt.Errorf("%w: the id of the last event is none that a node has sent", ErrInvalid)}
		}
		message.Header.Set("Last-Event-ID", string(s.last))
	}
	response, err := s.client.http.Do(message)
	if err != nil {
		return s.cause(withoutURL(err))
	}
	s.body = response.Body
	if !isSuccess(response) {
		body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
		if err != nil {
			return s.cause(withoutURL(err))
		}
		return problemOf(response, body, token)
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != "text/event-stream" {
		return &unsendable{errors.New("the answer is no stream of events: is this the address of a node?")}
	}
	s.lines = bufio.NewReader(response.Body)
	return nil
}

func (s *changeStream) close() {
	if s.alarm != nil {
		s.alarm.Stop()
		s.cancel(nil)
	}
	if s.body != nil {
		s.body.Close()
	}
	s.alarm, s.body = nil, nil
}

// cause is why the connection has ended, where the client itself has ended it.
func (s *changeStream) cause(err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		return cause
	}
	return err
}

// next waits for the next event that is a change.
func (s *changeStream) next() (Change, error) {
	for {
		name, id, data, err := s.event()
		if err != nil {
			return nil, err
		}
		if id != "" {
			s.last = EventID(id)
		}
		change, err := s.changeOf(name, data)
		if err != nil {
			return nil, &unsendable{err}
		}
		if change != nil {
			return change, nil
		}
	}
}

// event reads one event: lines until an empty one. An event that is cut off counts for nothing.
func (s *changeStream) event() (name, id string, data []byte, err error) {
	isFirst := true
	for {
		line, err := s.line(maxAnswerBytes - len(data))
		if err != nil {
			return "", "", nil, err
		}
		if line == "" {
			return name, id, data, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "id":
			id = value
		case "data":
			if !isFirst {
				data = append(data, '\n')
			}
			data, isFirst = append(data, value...), false
		}
	}
}

// line reads a line, of at most so many bytes.
func (s *changeStream) line(limit int) (string, error) {
	var line []byte
	for {
		part, err := s.lines.ReadSlice('\n')
		s.alarm.Reset(s.client.silence)
		line = append(line, part...)
		switch {
		case len(line) > limit:
			return "", &unsendable{fmt.Errorf("an event of the node has more than %d bytes", maxAnswerBytes)}
		case err == nil:
			return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
		case errors.Is(err, io.EOF):
			return "", s.cause(errors.New("the stream has ended"))
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", s.cause(withoutURL(err))
		}
	}
}

// changeOf reads the data of an event; nil for an event without data, or of a kind that this client
// does not know.
func (s *changeStream) changeOf(name string, data []byte) (Change, error) {
	var document struct {
		Resumed  bool
		Reason   string
		MemoryID string `json:"memory_id"`
		memoryAnswer
	}
	switch name {
	case "opened", "memory", "left", "reset":
	default:
		return nil, nil
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("an event of the node cannot be read: %w", err)
	}
	switch name {
	case "opened":
		return &Opened{s.last, document.Resumed}, nil
	case "left":
		return &Left{s.last, document.MemoryID}, nil
	case "reset":
		return &Reset{s.last, document.Reason}, nil
	}
	memory, err := document.read()
	if err != nil {
		return nil, err
	}
	return &Changed{s.last, memory}, nil
}
