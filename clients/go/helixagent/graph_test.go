package helixagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"helixstream/client"
)

// storeOf makes a store on a server that answers what a test says.
func storeOf(t *testing.T, handler http.HandlerFunc) *testStore {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	node, err := client.New(server.URL, client.Options{Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return NewStore[string, memoryShape, rangeShape, searchShape, listShape, entityShape, relationshipShape](node)
}

func respond(writer http.ResponseWriter, status int, body string) {
	writer.Header().Set("Content-Type", "application/problem+json")
	writer.WriteHeader(status)
	_, _ = io.WriteString(writer, body)
}

// carrierJSON is the answer about the memory that carries an entity.
func carrierJSON(clock, entity string) string {
	return fmt.Sprintf(`{"code":"HS8068","clock":%q,"pending":false,"memory":{"memory_id":%q,"session_id":%q,"status":"active",
		"metadata":{"helixagent.type":"entity"},"entities":[%s],"created_at":"2026-11-28T03:30:00Z","updated_at":"2026-11-28T03:31:00Z"}}`,
		clock, entityKind.memoryID("e"), EntitySession, entity)
}

func TestAnEntityThatAnotherCallerWritesMeanwhileIsReplacedAsItIsNow(t *testing.T) {
	var clocks []string
	store := storeOf(t, func(writer http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodGet {
			respond(writer, 404, `{"code":"HS8066"}`)
			return
		}
		clocks = append(clocks, request.Header.Get("If-Match"))
		if len(clocks) < 3 {
			respond(writer, 409, carrierJSON(fmt.Sprint("t", len(clocks)), `{"id":"e","name":"theirs"}`))
			return
		}
		var body struct{ Entities []entityJSON }
		if err := json.NewDecoder(request.Body).Decode(&body); err != nil || body.Entities[0].Name != "ours" {
			t.Error(body, err)
		}
		respond(writer, 200, carrierJSON("t3", `{"id":"e","name":"ours"}`))
	})
	entity := entityShape{ID: "e", Name: "ours"}
	if err := store.AddEntity(context.Background(), &entity); err != nil || entity.UpdatedAt.Minute() != 31 {
		t.Error(entity, err)
	}
	if !slices.Equal(clocks, []string{"", `"t1"`, `"t2"`}) {
		t.Errorf("%q", clocks)
	}
}

func TestAnEntityThatIsThereAlreadyOrAlwaysChangesEnds(t *testing.T) {
	writes, present := 0, `{"name":"tea","type":"","id":"e","properties":{"a":1,"b":[null]},"aliases":["x"]}`
	store := storeOf(t, func(writer http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodGet {
			respond(writer, 200, carrierJSON("t", present))
			return
		}
		writes++
		respond(writer, 409, carrierJSON("t", `{"id":"e","name":"theirs"}`))
	})
	entity := entityShape{ID: "e", Name: "tea", Properties: map[string]any{"b": []any{nil}, "a": 1}, Aliases: []string{"x"}}
	if err := store.AddEntity(context.Background(), &entity); err != nil || writes != 0 {
		t.Error(err, writes)
	}
	entity.Name = "coffee"
	if err := store.AddEntity(context.Background(), &entity); !errors.Is(err, client.ErrConflict) || writes != maxWrites {
		t.Error(err, writes)
	}
	present = `{"id":"e","name":["no text"]}`
	if found, err := store.GetEntity(context.Background(), "e"); err == nil {
		t.Error(found)
	}
	present = `{"id":"another"}`
	if found, err := store.GetEntity(context.Background(), "e"); !errors.Is(err, client.ErrNotFound) {
		t.Error(found, err)
	}
}

func TestWhatCannotBeWrittenIsNotSent(t *testing.T) {
	store := storeOf(t, func(writer http.ResponseWriter, request *http.Request) {
		if request.Method != http.MethodGet {
			t.Error("something was sent")
		}
		respond(writer, 404, `{"code":"HS8066"}`)
	})
	ctx := context.Background()
	for _, err := range []error{
		store.AddEntity(ctx, nil),
		store.AddRelationship(ctx, nil),
		store.AddEntity(ctx, &entityShape{ID: "\xff"}),
		store.AddEntity(ctx, &entityShape{Properties: map[string]any{"a": math.NaN()}}),
		store.AddRelationship(ctx, &relationshipShape{Strength: math.Inf(1)}),
	} {
		if !errors.Is(err, client.ErrInvalid) {
			t.Error(err)
		}
	}
	unauthorized := storeOf(t, func(writer http.ResponseWriter, _ *http.Request) { respond(writer, 401, `{"code":"HS6511"}`) })
	_, getEntity := unauthorized.GetEntity(ctx, "e")
	_, searchEntities := unauthorized.SearchEntities(ctx, "e", 1)
	_, getRelationships := unauthorized.GetRelationships(ctx, "e")
	for _, err := range []error{unauthorized.AddEntity(ctx, &entityShape{}), getEntity, searchEntities, getRelationships} {
		if !errors.Is(err, client.ErrUnauthorized) {
			t.Error(err)
		}
	}
}
