package helixagent

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"helixstream/client"
)

// maxFound is what a search of the node answers at most.
const maxFound = 100

// entityJSON is an entity as the node keeps it (docs/semantics.md, section 1). Its times are those
// of its carrier.
type entityJSON struct {
	ID         string         `json:"id"`
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Properties map[string]any `json:"properties"`
	Aliases    []string       `json:"aliases"`
}

// relationshipJSON is a relationship as the node keeps it.
type relationshipJSON struct {
	ID         string         `json:"id"`
	FromEntity string         `json:"from_entity"`
	ToEntity   string         `json:"to_entity"`
	Type       string         `json:"type"`
	Properties map[string]any `json:"properties"`
	Strength   float64        `json:"strength"`
}

// AddEntity creates or replaces the entity with this id, as HelixAgent's own store does, and writes
// its times into it, and an id where it had none. One that is there as it is given is not written
// again. With a token that is bound to users it is a client.ErrForbidden: entities have no user.
//
// Where two nodes have written it without having seen each other's write, the stream decides, and
// the client's Conflicts lists its carrier. A later AddEntity settles it.
func (s *Store[T, M, R, S, L, E, G]) AddEntity(ctx context.Context, entity *E) error {
	if entity == nil {
		return fmt.Errorf("%w: AddEntity has no entity", client.ErrInvalid)
	}
	given := entityOf(*entity)
	if err := drawIfEmpty(&given.ID); err != nil {
		return err
	}
	object := map[string]any{"id": given.ID, "name": given.Name, "type": given.Type}
	if len(given.Properties) > 0 {
		object["properties"] = given.Properties
	}
	aliases := []any{}
	for _, alias := range given.Aliases {
		aliases = append(aliases, alias)
	}
	if len(aliases) > 0 {
		object["aliases"] = aliases
	}
	carrier, err := s.write(ctx, entityKind, object, given.Name, aliases)
	if err != nil {
		return err
	}
	given.CreatedAt, given.UpdatedAt = carrier.CreatedAt, carrier.UpdatedAt
	*entity = E(given)
	return nil
}

// GetEntity reads an entity that AddEntity has written, here or on another node. One that is
// unknown is a client.ErrNotFound.
func (s *Store[T, M, R, S, L, E, G]) GetEntity(ctx context.Context, id string) (*E, error) {
	carrier, err := s.client.Read(ctx, entityKind.memoryID(id))
	if err != nil {
		return nil, err
	}
	entity, isThere, err := entityIn[E](carrier)
	if err == nil && !isThere {
		err = notFound("entity")
	}
	return entity, err
}

// SearchEntities finds the entities whose names contain the query, in any case of letters, as
// HelixAgent's own store does; an empty query finds all. A limit of 0 or less means all. It reads
// all entities, 200 at a time and in the order of their carriers' ids, until it has enough.
func (s *Store[T, M, R, S, L, E, G]) SearchEntities(ctx context.Context, query string, limit int) ([]*E, error) {
	query = strings.ToLower(query)
	found := []*E{}
	err := s.eachCarrier(ctx, EntitySession, func(carrier *client.Memory) (bool, error) {
		entity, isThere, err := entityIn[E](carrier)
		if err == nil && isThere && strings.Contains(strings.ToLower(entityOf(*entity).Name), query) {
			found = append(found, entity)
		}
		return limit <= 0 || len(found) < limit, err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// AddRelationship creates or replaces the relationship with this id, as AddEntity does with an
// entity. Its entities need not be there.
func (s *Store[T, M, R, S, L, E, G]) AddRelationship(ctx context.Context, relationship *G) error {
	if relationship == nil {
		return fmt.Errorf("%w: AddRelationship has no relationship", client.ErrInvalid)
	}
	given := relationshipOf(*relationship)
	if err := drawIfEmpty(&given.ID); err != nil {
		return err
	}
	object := map[string]any{
		"id": given.ID, "from_entity": given.SourceID, "to_entity": given.TargetID,
		"type": given.Type, "strength": given.Strength,
	}
	if len(given.Properties) > 0 {
		object["properties"] = given.Properties
	}
	content := strings.Join([]string{given.SourceID, given.Type, given.TargetID}, " ")
	// By these tags GetRelationships finds it.
	tags := []any{entityKind.memoryID(given.SourceID)}
	if given.TargetID != given.SourceID {
		tags = append(tags, entityKind.memoryID(given.TargetID))
	}
	carrier, err := s.write(ctx, relationshipKind, object, content, tags)
	if err != nil {
		return err
	}
	given.CreatedAt, given.UpdatedAt = carrier.CreatedAt, carrier.UpdatedAt
	*relationship = G(given)
	return nil
}

// GetRelationships finds the relationships that begin or end at an entity, by the times at which
// they were created. An entity that is unknown, or has none, has an empty list.
func (s *Store[T, M, R, S, L, E, G]) GetRelationships(ctx context.Context, entityID string) ([]*G, error) {
	all := []relationshipOf{}
	take := func(carrier *client.Memory) (bool, error) {
		relationship, isThere, err := relationshipIn(carrier)
		if err == nil && isThere && (relationship.SourceID == entityID || relationship.TargetID == entityID) {
			all = append(all, relationship)
		}
		return true, err
	}
	hits, err := s.client.Search(ctx, client.SearchQuery{
		Text: entityKind.memoryID(entityID), SessionID: RelationshipSession, TopK: maxFound,
	})
	if err != nil {
		return nil, err
	}
	if hits.Truncated || len(hits.Memories) >= maxFound {
		// There may be more than a search answers.
		err = s.eachCarrier(ctx, RelationshipSession, take)
	} else {
		for _, carrier := range hits.Memories {
			if _, err = take(carrier); err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(one, other relationshipOf) int {
		return cmp.Or(one.CreatedAt.Compare(other.CreatedAt), cmp.Compare(one.ID, other.ID))
	})
	relationships := make([]*G, 0, len(all))
	for _, ours := range all {
		theirs := G(ours)
		relationships = append(relationships, &theirs)
	}
	return relationships, nil
}

// eachCarrier reads the carriers of a session until the callback has enough.
func (s *Store[T, M, R, S, L, E, G]) eachCarrier(
	ctx context.Context, session string, goesOn func(*client.Memory) (bool, error),
) error {
	query := client.ListQuery{SessionID: session, Limit: pageSize}
	for {
		page, err := s.client.List(ctx, query)
		if err != nil {
			return err
		}
		for _, carrier := range page.Memories {
			if more, err := goesOn(carrier); err != nil || !more {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		query.Cursor = page.Next
	}
}

// entityIn reads the entity that a memory carries.
func entityIn[E EntityShape](carrier *client.Memory) (*E, bool, error) {
	raw, isThere := carried(carrier, entityKind)
	if !isThere {
		return nil, false, nil
	}
	var object entityJSON
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, false, fmt.Errorf("the entity of memory %q cannot be read: %w", carrier.MemoryID, err)
	}
	entity := E(entityOf{
		object.ID, object.Name, object.Type, object.Properties, object.Aliases, carrier.CreatedAt, carrier.UpdatedAt,
	})
	return &entity, true, nil
}

// relationshipIn reads the relationship that a memory carries.
func relationshipIn(carrier *client.Memory) (relationshipOf, bool, error) {
	raw, isThere := carried(carrier, relationshipKind)
	if !isThere {
		return relationshipOf{}, false, nil
	}
	var object relationshipJSON
	if err := json.Unmarshal(raw, &object); err != nil {
		return relationshipOf{}, false, fmt.Errorf("the relationship of memory %q cannot be read: %w", carrier.MemoryID, err)
	}
	return relationshipOf{
		object.ID, object.FromEntity, object.ToEntity, object.Type, object.Properties, object.Strength,
		carrier.CreatedAt, carrier.UpdatedAt,
	}, true, nil
}

func drawIfEmpty(id *string) error {
	if *id != "" {
		return nil
	}
	drawn, err := drawID()
	*id = drawn
	return err
}
