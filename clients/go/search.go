package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// SearchQuery is a search by words, by an embedding, or by both.
type SearchQuery struct {
	// Text has the words; empty for a search by the embedding alone.
	Text string
	// Embedding is compared with those of the memories. A search with one needs a token with the
	// right "act" beside "read".
	Embedding []float64
	// Weight is how much the embedding counts beside the words, from 0 to 1: 0.5 where it is nil.
	Weight *float64
	// UserID, SessionID, Type and Category leave out other memories; empty means all. The latter two
	// are HelixAgent's.
	UserID, SessionID, Type, Category string
	// CreatedFrom and CreatedTo leave out memories that were created before or after; zero means all.
	CreatedFrom, CreatedTo time.Time
	// TopK is the number of hits: 10 where it is 0, at most 100.
	TopK int
	// MinScore leaves out hits with a lower score; nil means none.
	MinScore *float64
}

// Hits are what a search has found.
type Hits struct {
	// Memories are the hits, the best first.
	Memories []*Memory
	// Truncated says that hits were left out because the answer would have become too large.
	Truncated bool
	// Compared is how many embeddings were compared.
	Compared int
	// Skipped is how many memories were not compared, since their embeddings have another number of
	// dimensions.
	Skipped int
}

// Search finds memories. By words these have at least one of them (BM25); by an embedding the score
// is the cosine of the angle between the two.
func (c *Client) Search(ctx context.Context, query SearchQuery) (*Hits, error) {
	request := call{method: http.MethodGet, path: "/v1/memories/search", query: query.values()}
	if query.Embedding != nil {
		body, err := encode(query.body())
		if err != nil {
			return nil, err
		}
		request = call{method: http.MethodPost, path: request.path, body: body}
	}
	answer, err := c.do(ctx, request)
	if err != nil {
		return nil, err
	}
	var document struct {
		Hits              []memoryAnswer
		Truncated         bool
		Compared, Skipped int
	}
	if err := decode(answer, &document); err != nil {
		return nil, err
	}
	memories, err := c.allShown(document.Hits)
	if err != nil {
		return nil, err
	}
	return &Hits{memories, document.Truncated, document.Compared, document.Skipped}, nil
}

// texts are the members of a search that are texts, also those that are empty.
func (q *SearchQuery) texts() map[string]string {
	texts := map[string]string{
		"query": q.Text, "user_id": q.UserID, "session_id": q.SessionID, "type": q.Type, "category": q.Category,
	}
	for name, at := range map[string]time.Time{"created_from": q.CreatedFrom, "created_to": q.CreatedTo} {
		if !at.IsZero() {
			texts[name] = at.Format(time.RFC3339Nano)
		}
	}
	return texts
}

func (q *SearchQuery) values() url.Values {
	values := url.Values{}
	for name, text := range q.texts() {
		set(values, name, text)
	}
	if q.TopK != 0 {
		values.Set("top_k", strconv.Itoa(q.TopK))
	}
	if q.MinScore != nil {
		values.Set("min_score", strconv.FormatFloat(*q.MinScore, 'g', -1, 64))
	}
	return values
}

func (q *SearchQuery) body() map[string]any {
	body := map[string]any{"embedding": q.Embedding}
	for name, text := range q.texts() {
		if text != "" {
			body[name] = text
		}
	}
	if q.TopK != 0 {
		body["top_k"] = q.TopK
	}
	if q.Weight != nil {
		body["weight"] = *q.Weight
	}
	if q.MinScore != nil {
		body["min_score"] = *q.MinScore
	}
	return body
}

// Found is a hit of SearchMem0.
type Found struct {
	ID    string  `json:"id"`
	Text  string  `json:"memory"`
	Score float64 `json:"score"`
}

// SearchMem0 searches by Mem0's API (docs/mem0.md), whose filters know metadata and times. It has
// no clock tokens: read a memory before you write it. The hits are at most topK, from 1 to 1000.
func (c *Client) SearchMem0(ctx context.Context, text string, filters map[string]any, topK int) ([]Found, error) {
	body, err := encode(map[string]any{"query": text, "filters": filters, "top_k": topK})
	if err != nil {
		return nil, err
	}
	answer, err := c.do(ctx, call{method: http.MethodPost, path: "/mem0/v3/memories/search/", body: body})
	if err != nil {
		return nil, err
	}
	var document struct{ Results []Found }
	if err := decode(answer, &document); err != nil {
		return nil, err
	}
	return document.Results, nil
}
