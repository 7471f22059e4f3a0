package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// Parts are the entities or the relationships of a memory.
type Parts struct {
	// Clock is the clock token of the memory.
	Clock string
	// Pending says whether a write of this node lies over the memory that is not resolved yet.
	Pending bool
	// Objects are the JSON objects, by their ids.
	Objects []json.RawMessage
}

// Entities lists the entities of a memory.
func (c *Client) Entities(ctx context.Context, memoryID string) (*Parts, error) {
	return c.parts(ctx, memoryID, "entities")
}

// Relationships lists the relationships of a memory.
func (c *Client) Relationships(ctx context.Context, memoryID string) (*Parts, error) {
	return c.parts(ctx, memoryID, "relationships")
}

// PutEntity creates or replaces an entity of a memory. Its members may be any JSON; "id" may be
// absent. The clock is as for Replace. Events cannot clear an entity, so there is no delete.
func (c *Client) PutEntity(ctx context.Context, memoryID, entityID, clock string, members Fields) (*Written, error) {
	return c.writePart(ctx, http.MethodPut, memoryID, "entities", entityID, clock, members)
}

// PutRelationship creates or replaces a relationship of a memory, as PutEntity does.
func (c *Client) PutRelationship(
	ctx context.Context, memoryID, relationshipID, clock string, members Fields,
) (*Written, error) {
	return c.writePart(ctx, http.MethodPut, memoryID, "relationships", relationshipID, clock, members)
}

// DeleteRelationship clears a relationship of a memory. The clock is as for Replace. To clear one
// that is not there is a write as well.
func (c *Client) DeleteRelationship(ctx context.Context, memoryID, relationshipID, clock string) (*Written, error) {
	return c.writePart(ctx, http.MethodDelete, memoryID, "relationships", relationshipID, clock, nil)
}

func (c *Client) parts(ctx context.Context, memoryID, field string) (*Parts, error) {
	path, err := memoryPath(memoryID)
	if err != nil {
		return nil, err
	}
	answer, err := c.do(ctx, call{method: http.MethodGet, path: path + "/" + field})
	if err != nil {
		return nil, err
	}
	var document struct {
		Clock         string
		Pending       bool
		Entities      []json.RawMessage
		Relationships []json.RawMessage
	}
	if err := decode(answer, &document); err != nil {
		return nil, err
	}
	objects := document.Entities
	if field == "relationships" {
		objects = document.Relationships
	}
	return &Parts{document.Clock, document.Pending, objects}, nil
}

func (c *Client) writePart(
	ctx context.Context, method, memoryID, field, partID, clock string, members Fields,
) (*Written, error) {
	if partID == "" || partID == "." || partID == ".." {
		return nil, fmt.Errorf("%w: the id %q cannot be part of a URL's path", ErrInvalid, partID)
	}
	if method == http.MethodPut && members == nil {
		members = Fields{}
	}
	return c.writeMemory(ctx, method, memoryID, "/"+field+"/"+url.PathEscape(partID), clock, members)
}
