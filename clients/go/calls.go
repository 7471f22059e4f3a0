package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Create makes a memory. The node draws an id where id is empty. A memory that is there already is
// an ErrConflict.
func (c *Client) Create(ctx context.Context, id string, fields Fields) (*Written, error) {
	body := Fields{}
	for name, value := range fields {
		body[name] = value
	}
	if id != "" {
		body["memory_id"] = id
	}
	return c.write(ctx, http.MethodPost, "/v1/memories", "", body)
}

// Read reads a memory.
func (c *Client) Read(ctx context.Context, id string) (*Memory, error) {
	path, err := memoryPath(id)
	if err != nil {
		return nil, err
	}
	answer, err := c.do(ctx, call{method: http.MethodGet, path: path})
	if err != nil {
		return nil, err
	}
	var document memoryAnswer
	if err := decode(answer, &document); err != nil {
		return nil, err
	}
	return c.shown(document)
}

// Replace creates or replaces a memory: content, embedding, importance, session, tags and metadata
// that the fields lack are cleared.
//
// The clock is the token of what the caller has seen. Where it is empty, the write has seen what
// this client was last shown of the memory; where that is nothing, what the node shows.
func (c *Client) Replace(ctx context.Context, id, clock string, fields Fields) (*Written, error) {
	return c.writeMemory(ctx, http.MethodPut, id, "", clock, fields)
}

// Update writes fields of a memory, and no others. The clock is as for Replace.
func (c *Client) Update(ctx context.Context, id, clock string, fields Fields) (*Written, error) {
	return c.writeMemory(ctx, http.MethodPatch, id, "", clock, fields)
}

// Merge lets a memory absorb those that "merged_from" of the fields names. The clock is as for
// Replace. "clocks" of the fields may have the clocks of the absorbed memories by their ids;
// without it the client sends those that it has seen.
func (c *Client) Merge(ctx context.Context, id, clock string, fields Fields) (*Written, error) {
	absorbed := texts(fields["merged_from"])
	if _, given := fields["clocks"]; !given {
		clocks := map[string]string{}
		for _, other := range absorbed {
			if answer, ok := c.seen.get(other); ok && other != id {
				clocks[other] = answer.Clock
			}
		}
		with := Fields{"clocks": clocks}
		maps.Copy(with, fields)
		fields = with
	}
	written, err := c.writeMemory(ctx, http.MethodPost, id, "/merge", clock, fields)
	if err == nil {
		for _, other := range absorbed {
			c.seen.forget(other)
		}
	}
	return written, err
}

// texts is a list of texts, whichever type it has.
func texts(value any) []string {
	switch value := value.(type) {
	case []string:
		return value
	case []any:
		var found []string
		for _, item := range value {
			if text, ok := item.(string); ok {
				found = append(found, text)
			}
		}
		return found
	}
	return nil
}

// Delete deletes a memory. The clock is as for Replace.
func (c *Client) Delete(ctx context.Context, id, clock string) (*Written, error) {
	return c.writeMemory(ctx, http.MethodDelete, id, "", clock, nil)
}

// ListQuery says which memories are listed.
type ListQuery struct {
	// UserID and SessionID leave out the memories of others; empty means all.
	UserID, SessionID string
	// Limit of a page: 50 where it is 0, at most 200.
	Limit int
	// Cursor is the Next of the page before.
	Cursor string
	// IncludeInactive lists deleted and merged memories, too.
	IncludeInactive bool
}

// Page is one page of a list, in the order of the ids.
type Page struct {
	Memories []*Memory
	// Next is the cursor of the next page; empty for the last one.
	Next string
}

// List lists memories. A page may have fewer memories than the limit.
func (c *Client) List(ctx context.Context, query ListQuery) (*Page, error) {
	values := pageValues(query.UserID, query.SessionID, query.Cursor, query.Limit)
	if query.IncludeInactive {
		values.Set("include_inactive", "true")
	}
	return c.page(ctx, "/v1/memories", values)
}

// ConflictsQuery says whose conflicts are listed. Its fields are as those of ListQuery.
type ConflictsQuery struct {
	UserID, SessionID string
	Limit             int
	Cursor            string
}

// Conflicts lists the active memories with a field in conflict, which ConflictedFields names. An
// Update of such a field with the Clock of the list decides it.
func (c *Client) Conflicts(ctx context.Context, query ConflictsQuery) (*Page, error) {
	return c.page(ctx, "/v1/conflicts", pageValues(query.UserID, query.SessionID, query.Cursor, query.Limit))
}

func pageValues(userID, sessionID, cursor string, limit int) url.Values {
	values := url.Values{}
	set(values, "user_id", userID)
	set(values, "session_id", sessionID)
	set(values, "cursor", cursor)
	if limit != 0 {
		values.Set("limit", strconv.Itoa(limit))
	}
	return values
}

func (c *Client) page(ctx context.Context, path string, values url.Values) (*Page, error) {
	answer, err := c.do(ctx, call{method: http.MethodGet, path: path, query: values})
	if err != nil {
		return nil, err
	}
	var document struct {
		Memories []memoryAnswer
		Next     string
	}
	if err := decode(answer, &document); err != nil {
		return nil, err
	}
	memories, err := c.allShown(document.Memories)
	return &Page{memories, document.Next}, err
}

// Seen returns what this client was last shown of a memory, and whether it still has that.
func (c *Client) Seen(id string) (*Memory, bool) {
	answer, ok := c.seen.get(id)
	if !ok {
		return nil, false
	}
	memory, err := answer.read()
	return memory, err == nil
}

func (c *Client) writeMemory(ctx context.Context, method, id, action, clock string, fields Fields) (*Written, error) {
	path, err := memoryPath(id)
	if err != nil {
		return nil, err
	}
	if clock == "" {
		answer, _ := c.seen.get(id)
		clock = answer.Clock
	}
	written, err := c.write(ctx, method, path+action, clock, fields)
	if err == nil && method == http.MethodDelete {
		c.seen.forget(id)
	}
	return written, err
}

func (c *Client) write(ctx context.Context, method, path, clock string, fields Fields) (*Written, error) {
	request := call{method: method, path: path, clock: clock}
	var err error
	if request.key, err = keyOf(ctx); err != nil {
		return nil, err
	}
	if fields != nil {
		if request.body, err = encode(fields); err != nil {
			return nil, err
		}
	}
	if c.waitForKafka {
		request.query = url.Values{"ack": {"kafka"}}
	}
	answer, err := c.do(ctx, request)
	if err != nil {
		return nil, err
	}
	var document struct {
		Event             Event
		Assumed, Repeated bool
		memoryAnswer
	}
	if err := decode(answer, &document); err != nil {
		return nil, err
	}
	memory, err := c.shown(document.memoryAnswer)
	if err != nil {
		return nil, err
	}
	return &Written{*memory, document.Event, document.Assumed, document.Repeated}, nil
}

// shown notes what the node has shown of a memory.
func (c *Client) shown(answer memoryAnswer) (*Memory, error) {
	memory, err := answer.read()
	if err == nil {
		c.seen.put(memory.MemoryID, answer)
	}
	return memory, err
}

func (c *Client) allShown(answers []memoryAnswer) ([]*Memory, error) {
	memories := make([]*Memory, 0, len(answers))
	for _, answer := range answers {
		memory, err := c.shown(answer)
		if err != nil {
			return nil, err
		}
		memories = append(memories, memory)
	}
	return memories, nil
}

// memoryPath is the path of a memory. The route of the search has the name of a possible id.
func memoryPath(id string) (string, error) {
	switch id {
	case "":
		return "", fmt.Errorf("%w: the id of a memory is empty", ErrInvalid)
	case ".", "..":
		return "", fmt.Errorf("%w: the id %q cannot be part of a URL's path", ErrInvalid, id)
	case "search":
		return "/v1/memories/%73earch", nil
	}
	return "/v1/memories/" + url.PathEscape(id), nil
}

func set(values url.Values, name, value string) {
	if value != "" {
		values.Set(name, value)
	}
}

func encode(value any) ([]byte, error) {
	if !isText(value) {
		return nil, fmt.Errorf("%w: a text is not UTF-8", ErrInvalid)
	}
	body, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("%w: a field cannot be written as JSON: %w", ErrInvalid, err)
	}
	return body, nil
}

// isText says whether all texts are UTF-8: encoding/json would replace others in silence.
func isText(value any) bool {
	switch value := value.(type) {
	case string:
		return utf8.ValidString(value)
	case []string:
		return !slices.ContainsFunc(value, func(text string) bool { return !utf8.ValidString(text) })
	case []any:
		return !slices.ContainsFunc(value, func(item any) bool { return !isText(item) })
	case Fields:
		return isText(map[string]any(value))
	case map[string]any:
		for name, item := range value {
			if !utf8.ValidString(name) || !isText(item) {
				return false
			}
		}
	}
	return true
}

func decode(answer *answer, into any) error {
	if err := json.Unmarshal(answer.body, into); err != nil {
		return fmt.Errorf("the node's answer cannot be read: %w", err)
	}
	return nil
}
