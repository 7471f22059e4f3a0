// Package memory has an interface and types of the same shape as HelixAgent's package of this name.
package memory

import (
	"context"
	"time"
)

type Memory struct {
	ID          string                 `json:"id"`
	UserID      string                 `json:"user_id"`
	SessionID   string                 `json:"session_id,omitempty"`
	Content     string                 `json:"content"`
	Summary     string                 `json:"summary,omitempty"`
	Type        MemoryType             `json:"type"`
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

type MemoryType string

type Entity struct {
	ID         string                 `json:"id"`
	Name       string                 `json:"name"`
	Type       string                 `json:"type"`
	Properties map[string]interface{} `json:"properties,omitempty"`
	Aliases    []string               `json:"aliases,omitempty"`
	CreatedAt  time.Time              `json:"created_at"`
	UpdatedAt  time.Time              `json:"updated_at"`
}

type Relationship struct {
	ID         string                 `json:"id"`
	SourceID   string                 `json:"source_id"`
	TargetID   string                 `json:"target_id"`
	Type       string                 `json:"type"`
	Properties map[string]interface{} `json:"properties,omitempty"`
	Strength   float64                `json:"strength"`
	CreatedAt  time.Time              `json:"created_at"`
	UpdatedAt  time.Time              `json:"updated_at"`
}

type MemoryStore interface {
	Add(ctx context.Context, memory *Memory) error
	Get(ctx context.Context, id string) (*Memory, error)
	Update(ctx context.Context, memory *Memory) error
	Delete(ctx context.Context, id string) error
	Search(ctx context.Context, query string, opts *SearchOptions) ([]*Memory, error)
	GetByUser(ctx context.Context, userID string, opts *ListOptions) ([]*Memory, error)
	GetBySession(ctx context.Context, sessionID string) ([]*Memory, error)
	AddEntity(ctx context.Context, entity *Entity) error
	GetEntity(ctx context.Context, id string) (*Entity, error)
	SearchEntities(ctx context.Context, query string, limit int) ([]*Entity, error)
	AddRelationship(ctx context.Context, rel *Relationship) error
	GetRelationships(ctx context.Context, entityID string) ([]*Relationship, error)
}

type SearchOptions struct {
	UserID       string     `json:"user_id,omitempty"`
	SessionID    string     `json:"session_id,omitempty"`
	Type         MemoryType `json:"type,omitempty"`
	Category     string     `json:"category,omitempty"`
	TopK         int        `json:"top_k"`
	MinScore     float64    `json:"min_score"`
	IncludeGraph bool       `json:"include_graph"`
	TimeRange    *TimeRange `json:"time_range,omitempty"`
}

type ListOptions struct {
	Limit  int    `json:"limit"`
	Offset int    `json:"offset"`
	SortBy string `json:"sort_by"`
	Order  string `json:"order"`
}

type TimeRange struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}
