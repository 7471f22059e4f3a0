// Package helixagent is a store for HelixAgent's memories on a node of helixstream: it has the
// twelve calls of HelixAgent's interface MemoryStore.
//
// HelixAgent's types lie in a package that is internal to its module. So the store is generic: a
// program inside that module names its own types, and the compiler holds that they have the fields
// that this package knows. README.md of this module shows the line.
package helixagent

import "time"

// memoryOf has the fields of HelixAgent's Memory, whose type of memories is T.
type memoryOf[T ~string] struct {
	ID          string
	UserID      string
	SessionID   string
	Content     string
	Summary     string
	Type        T
	Category    string
	Metadata    map[string]interface{}
	Embedding   []float32
	Importance  float64
	AccessCount int
	LastAccess  time.Time
	CreatedAt   time.Time
	UpdatedAt   time.Time
	ExpiresAt   *time.Time
}

// searchOf has the fields of HelixAgent's SearchOptions, whose ranges of time are R.
type searchOf[T ~string, R any] struct {
	UserID       string
	SessionID    string
	Type         T
	Category     string
	TopK         int
	MinScore     float64
	IncludeGraph bool
	TimeRange    *R
}

// rangeOf has the fields of HelixAgent's TimeRange.
type rangeOf struct {
	Start time.Time
	End   time.Time
}

// listOf has the fields of HelixAgent's ListOptions.
type listOf struct {
	Limit  int
	Offset int
	SortBy string
	Order  string
}

// entityOf has the fields of HelixAgent's Entity.
type entityOf struct {
	ID         string
	Name       string
	Type       string
	Properties map[string]interface{}
	Aliases    []string
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// relationshipOf has the fields of HelixAgent's Relationship.
type relationshipOf struct {
	ID         string
	SourceID   string
	TargetID   string
	Type       string
	Properties map[string]interface{}
	Strength   float64
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// The constraints below are the same structs with HelixAgent's tags, which belong to a type's
// identity there, and which a conversion ignores.

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

// TimeRangeShape is any type of the shape of HelixAgent's TimeRange.
type TimeRangeShape interface {
	~struct {
		Start time.Time `json:"start"`
		End   time.Time `json:"end"`
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

// ListShape is any type of the shape of HelixAgent's ListOptions.
type ListShape interface {
	~struct {
		Limit  int    `json:"limit"`
		Offset int    `json:"offset"`
		SortBy string `json:"sort_by"`
		Order  string `json:"order"`
	}
}

// EntityShape is any type of the shape of HelixAgent's Entity.
type EntityShape interface {
	~struct {
		ID         string                 `json:"id"`
		Name       string                 `json:"name"`
		Type       string                 `json:"type"`
		Properties map[string]interface{} `json:"properties,omitempty"`
		Aliases    []string               `json:"aliases,omitempty"`
		CreatedAt  time.Time              `json:"created_at"`
		UpdatedAt  time.Time              `json:"updated_at"`
	}
}

// RelationshipShape is any type of the shape of HelixAgent's Relationship.
type RelationshipShape interface {
	~struct {
		ID         string                 `json:"id"`
		SourceID   string                 `json:"source_id"`
		TargetID   string                 `json:"target_id"`
		Type       string                 `json:"type"`
		Properties map[string]interface{} `json:"properties,omitempty"`
		Strength   float64                `json:"strength"`
		CreatedAt  time.Time              `json:"created_at"`
		UpdatedAt  time.Time              `json:"updated_at"`
	}
}
