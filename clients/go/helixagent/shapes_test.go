package helixagent

import "time"

type testStore = Store[string, memoryShape, rangeShape, searchShape, listShape, entityShape, relationshipShape]

// The types below have the shapes of HelixAgent's.

type memoryShape struct {
	ID          string                 `json:"id"`
	UserID      string                 `json:"user_id"`
	SessionID   string                 `json:"session_id,omitempty"`
	Content     string                 `json:"content"`
	Summary     string                 `json:"summary,omitempty"`
	Type        string                 `json:"type"`
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

type rangeShape struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

type searchShape struct {
	UserID       string      `json:"user_id,omitempty"`
	SessionID    string      `json:"session_id,omitempty"`
	Type         string      `json:"type,omitempty"`
	Category     string      `json:"category,omitempty"`
	TopK         int         `json:"top_k"`
	MinScore     float64     `json:"min_score"`
	IncludeGraph bool        `json:"include_graph"`
	TimeRange    *rangeShape `json:"time_range,omitempty"`
}

type listShape struct {
	Limit  int    `json:"limit"`
	Offset int    `json:"offset"`
	SortBy string `json:"sort_by"`
	Order  string `json:"order"`
}

type entityShape struct {
	ID         string                 `json:"id"`
	Name       string                 `json:"name"`
	Type       string                 `json:"type"`
	Properties map[string]interface{} `json:"properties,omitempty"`
	Aliases    []string               `json:"aliases,omitempty"`
	CreatedAt  time.Time              `json:"created_at"`
	UpdatedAt  time.Time              `json:"updated_at"`
}

type relationshipShape struct {
	ID         string                 `json:"id"`
	SourceID   string                 `json:"source_id"`
	TargetID   string                 `json:"target_id"`
	Type       string                 `json:"type"`
	Properties map[string]interface{} `json:"properties,omitempty"`
	Strength   float64                `json:"strength"`
	CreatedAt  time.Time              `json:"created_at"`
	UpdatedAt  time.Time              `json:"updated_at"`
}
