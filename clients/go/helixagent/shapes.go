// Package helixagent is a store for HelixAgent's memories on a node of helixstream: it has the
// twelve calls of HelixAgent's interface MemoryStore.
//
// HelixAgent's types lie in a package that is internal to its module. So the store is generic: a
// program inside that module names its own types, and the compiler holds that they have the fields
// that this package knows. README.md of this module shows the line.
package helixagent

import "time"

// The structs below have the fields and the tags of HelixAgent's types. Those without a parameter
// are aliases of a struct without a name, so that a constraint can name them. A constraint on a
// generic type cannot, and spells the fields out; the tags belong to a type's identity there.

// memoryOf is the struct of HelixAgent's Memory, whose type of memories is T.
type memoryOf[T ~string] struct {
	ID          string                 `json:"id"`
	UserID      string                 `json:"user_id"`
	SessionID   string                 `json:"session_id,omitempty"`
	Content     string                 `json:"content"`
	Summary     string                 `json:"summary,omitempty"`
	Type        T                      `json:"type"`
	Category    string                 `json:"category,omitempty"`
	Metadata    map[string]interface{} `json:"metadata,omitempty"`
	Embedding   []float32              `json:"embedding,omitempty"`
	Importance  float64                `json:"importance"`
	AccessCount int                    `json:"access_count"`
	LastAccess  time.Time              `json:"last_access"`
	CreatedAt   time.Time              `json:"created_at"`
	UpdatedAt   time.Time              `json:"updated_at"`
	ExpiresAt   *time.Time             `json:"expires_at,omitempty"`
}

// searchOf is the struct of HelixAgent's SearchOptions, whose ranges of time are R.
type searchOf[T ~string, R any] struct {
	UserID       string  `json:"user_id,omitempty"`
	SessionID    string  `json:"session_id,omitempty"`
	Type         T       `json:"type,omitempty"`
	Category     string  `json:"category,omitempty"`
	TopK         int     `json:"top_k"`
	MinScore     float64 `json:"min_score"`
	IncludeGraph bool    `json:"include_graph"`
	TimeRange    *R      `json:"time_range,omitempty"`
}

// rangeOf is the struct of HelixAgent's TimeRange.
type rangeOf = struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// listOf is the struct of HelixAgent's ListOptions.
type listOf = struct {
	Limit  int    `json:"limit"`
	Offset int    `json:"offset"`
	SortBy string `json:"sort_by"`
	Order  string `json:"order"`
}

// entityOf is the struct of HelixAgent's Entity.
type entityOf = struct {
	ID         string                 `json:"id"`
	Name       string                 `json:"name"`
	Type       string                 `json:"type"`
	Properties map[string]interface{} `json:"properties,omitempty"`
	Aliases    []string               `json:"aliases,omitempty"`
	CreatedAt  time.Time              `json:"created_at"`
	UpdatedAt  time.Time              `json:"updated_at"`
}

// relationshipOf is the struct of HelixAgent's Relationship.
type relationshipOf = struct {
	ID         string                 `json:"id"`
	SourceID   string                 `json:"source_id"`
	TargetID   string                 `json:"target_id"`
	Type       string                 `json:"type"`
	Properties map[string]interface{} `json:"properties,omitempty"`
	Strength   float64                `json:"strength"`
	CreatedAt  time.Time              `json:"created_at"`
	UpdatedAt  time.Time              `json:"updated_at"`
}

// MemoryShape is any type of the shape of HelixAgent's Memory.
type MemoryShape[T ~string] interface {
	~struct {
		ID          string                 `json:"id"`
		UserID      string                 `json:"user_id"`
		SessionID   string                 `json:"session_id,omitempty"`
		Content     string                 `json:"content"`
		Summary     string                 `json:"summary,omitempty"`
		Type        T                      `json:"type"`
		Category    string                 `json:"category,omitempty"`
		Metadata    map[string]interface{} `json:"metadata,omitempty"`
		Embedding   []float32              `json:"embedding,omitempty"`
		Importance  float64                `json:"importance"`
		AccessCount int                    `json:"access_count"`
		LastAccess  time.Time              `json:"last_access"`
		CreatedAt   time.Time              `json:"created_at"`
		UpdatedAt   time.Time              `json:"updated_at"`
		ExpiresAt   *time.Time             `json:"expires_at,omitempty"`
	}
}

// SearchShape is any type of the shape of HelixAgent's SearchOptions.
type SearchShape[T ~string, R any] interface {
	~struct {
		UserID       string  `json:"user_id,omitempty"`
		SessionID    string  `json:"session_id,omitempty"`
		Type         T       `json:"type,omitempty"`
		Category     string  `json:"category,omitempty"`
		TopK         int     `json:"top_k"`
		MinScore     float64 `json:"min_score"`
		IncludeGraph bool    `json:"include_graph"`
		TimeRange    *R      `json:"time_range,omitempty"`
	}
}

// TimeRangeShape is any type of the shape of HelixAgent's TimeRange.
type TimeRangeShape interface{ ~rangeOf }

// ListShape is any type of the shape of HelixAgent's ListOptions.
type ListShape interface{ ~listOf }

// EntityShape is any type of the shape of HelixAgent's Entity.
type EntityShape interface{ ~entityOf }

// RelationshipShape is any type of the shape of HelixAgent's Relationship.
type RelationshipShape interface{ ~relationshipOf }
