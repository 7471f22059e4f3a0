package helixagent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"helixstream/client"
)

const (
	// defaultTopK is that of HelixAgent's DefaultSearchOptions.
	defaultTopK = 10
	// defaultMinScore is that of HelixAgent's DefaultSearchOptions.
	defaultMinScore = 0.5
	// maxHits is what the node finds at most.
	maxHits = 1000
	// maxListed is HelixAgent's limit of memories of a user.
	maxListed = 10_000
	pageSize  = 200
)

// TooMany is the error of a list that would have more memories than HelixAgent permits a user.
type TooMany struct {
	// Limit is how many a list may have.
	Limit int
}

func (t *TooMany) Error() string {
	return fmt.Sprintf("there are more than %d memories: list them in pages with the client", t.Limit)
}

// Search finds memories by words, the best first in the order of the node (BM25). It looks at the
// 1000 best hits for the words.
//
// MinScore is a share, as HelixAgent's own store counts it: that of the query's words which the
// content has. Unlike there, the importance of a hit is the memory's own. TopK is 10 where it is 0.
// IncludeGraph changes nothing, as there: hits are memories. SearchEntities and GetRelationships
// find the graph.
func (s *Store[T, M, R, S, L, E, G]) Search(ctx context.Context, query string, options *S) ([]*M, error) {
	wanted := searchOf[T, R]{MinScore: defaultMinScore}
	if options != nil {
		wanted = searchOf[T, R](*options)
	}
	if wanted.TopK == 0 {
		wanted.TopK = defaultTopK
	}
	switch {
	case wanted.TopK < 0:
		return nil, fmt.Errorf("%w: TopK of a search is not negative", client.ErrInvalid)
	case wanted.TopK > maxHits:
		return nil, &Unsupported{"Search", fmt.Sprintf("a TopK above %d", maxHits)}
	}
	words := strings.Fields(strings.ToLower(query))
	if len(words) == 0 {
		return nil, fmt.Errorf("%w: the query of a search has no words", client.ErrInvalid)
	}
	topK := wanted.TopK
	if wanted.MinScore > 0 {
		topK = maxHits
	}
	hits, err := s.client.SearchMem0(ctx, query, filters[T, R](wanted), topK)
	if err != nil {
		return nil, err
	}
	found := []*M{}
	for _, hit := range hits {
		if len(found) == wanted.TopK {
			break
		}
		if share(words, hit.Text) < wanted.MinScore {
			continue
		}
		memory, err := s.Get(ctx, hit.ID)
		if errors.Is(err, client.ErrNotFound) {
			continue // It was deleted since it was found.
		}
		if err != nil {
			return nil, err
		}
		found = append(found, memory)
	}
	return found, nil
}

// filters returns those of Mem0's API for a search.
func filters[T ~string, R TimeRangeShape](wanted searchOf[T, R]) map[string]any {
	filters, metadata := map[string]any{}, map[string]any{}
	// The memories that carry entities and relationships are none of the caller's.
	filters["NOT"] = map[string]any{"session_id": map[string]any{"in": []any{EntitySession, RelationshipSession}}}
	if wanted.UserID != "" {
		filters["user_id"] = wanted.UserID
	}
	if wanted.SessionID != "" {
		filters["session_id"] = wanted.SessionID
	}
	if wanted.Type != "" {
		metadata["type"] = string(wanted.Type)
	}
	if wanted.Category != "" {
		metadata["category"] = wanted.Category
	}
	if len(metadata) > 0 {
		filters["metadata"] = metadata
	}
	if wanted.TimeRange != nil {
		span := rangeOf(*wanted.TimeRange)
		filters["created_at"] = map[string]any{"gte": span.Start.Format(time.RFC3339Nano), "lte": span.End.Format(time.RFC3339Nano)}
	}
	return filters
}

// share is the share of the words, in small letters, that occur in a content.
func share(words []string, content string) float64 {
	content = strings.ToLower(content)
	there := 0
	for _, word := range words {
		if strings.Contains(content, word) {
			there++
		}
	}
	return float64(there) / float64(len(words))
}

// GetByUser lists the memories of a user, sorted by created_at where the options name nothing else.
// More than 10,000 are TooMany; sorting by access_count is Unsupported, since a node counts no
// reads.
func (s *Store[T, M, R, S, L, E, G]) GetByUser(ctx context.Context, userID string, options *L) ([]*M, error) {
	var wanted listOf
	if options != nil {
		wanted = listOf(*options)
	}
	compare, err := order[T](wanted)
	if err != nil {
		return nil, err
	}
	if userID == "" {
		return nil, fmt.Errorf("%w: the user of GetByUser is empty", client.ErrInvalid)
	}
	memories, err := s.list(ctx, client.ListQuery{UserID: userID}, compare)
	if err != nil {
		return nil, err
	}
	memories = memories[min(wanted.Offset, len(memories)):]
	if wanted.Limit > 0 {
		memories = memories[:min(wanted.Limit, len(memories))]
	}
	return memories, nil
}

// GetBySession lists the memories of a session by the times at which they were created. More than
// 10,000 are TooMany.
func (s *Store[T, M, R, S, L, E, G]) GetBySession(ctx context.Context, sessionID string) ([]*M, error) {
	compare, err := order[T](listOf{})
	if err != nil {
		return nil, err
	}
	if sessionID == "" {
		return nil, fmt.Errorf("%w: the session of GetBySession is empty", client.ErrInvalid)
	}
	return s.list(ctx, client.ListQuery{SessionID: sessionID}, compare)
}

func (s *Store[T, M, R, S, L, E, G]) list(
	ctx context.Context, query client.ListQuery, compare func(one, other memoryOf[T]) int,
) ([]*M, error) {
	all := []memoryOf[T]{}
	query.Limit = pageSize
	for {
		page, err := s.client.List(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, memory := range page.Memories {
			if isCarrier(memory) {
				continue
			}
			ours, err := ofNode[T](memory)
			if err != nil {
				return nil, err
			}
			all = append(all, ours)
		}
		if len(all) > maxListed {
			return nil, &TooMany{maxListed}
		}
		if page.Next == "" {
			break
		}
		query.Cursor = page.Next
	}
	slices.SortFunc(all, compare)
	memories := make([]*M, 0, len(all))
	for _, ours := range all {
		theirs := M(ours)
		memories = append(memories, &theirs)
	}
	return memories, nil
}

// order returns how a list is sorted: equal ones by their ids, so that the order is always the
// same.
func order[T ~string](wanted listOf) (func(one, other memoryOf[T]) int, error) {
	var compare func(one, other memoryOf[T]) int
	switch wanted.SortBy {
	case "", "created_at":
		compare = func(one, other memoryOf[T]) int { return one.CreatedAt.Compare(other.CreatedAt) }
	case "updated_at":
		compare = func(one, other memoryOf[T]) int { return one.UpdatedAt.Compare(other.UpdatedAt) }
	case "importance":
		compare = func(one, other memoryOf[T]) int { return cmp.Compare(one.Importance, other.Importance) }
	case "access_count":
		return nil, &Unsupported{"GetByUser", "a list by access_count"}
	default:
		return nil, fmt.Errorf("%w: a list is sorted by created_at, updated_at or importance, and not by %q", client.ErrInvalid, wanted.SortBy)
	}
	sign := 1
	switch wanted.Order {
	case "", "asc":
	case "desc":
		sign = -1
	default:
		return nil, fmt.Errorf("%w: the order of a list is asc or desc, and not %q", client.ErrInvalid, wanted.Order)
	}
	if wanted.Offset < 0 || wanted.Limit < 0 {
		return nil, fmt.Errorf("%w: offset and limit of a list are not negative", client.ErrInvalid)
	}
	return func(one, other memoryOf[T]) int {
		return cmp.Or(sign*compare(one, other), cmp.Compare(one.ID, other.ID))
	}, nil
}
