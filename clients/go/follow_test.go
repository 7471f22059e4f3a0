package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// stream begins an answer that is a stream, and flushes what is written to it.
func stream(writer http.ResponseWriter, events string) {
	writer.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(writer, events)
	writer.(http.Flusher).Flush()
}

// changed is an event about a memory.
func changed(id, clock string) string {
	return "event: memory\nid: " + id + "\ndata: " + strings.ReplaceAll(memoryJSON(clock), "\n", " ") + "\n\n"
}

// told is what a stream has yielded, in short.
func told(change Change) string {
	switch change := change.(type) {
	case *Opened:
		return fmt.Sprintf("opened %v at %s", change.Resumed, change.LastEventID())
	case *Changed:
		return fmt.Sprintf("memory %s %s at %s", change.Memory.MemoryID, change.Memory.Clock, change.LastEventID())
	case *Left:
		return fmt.Sprintf("left %s at %s", change.MemoryID, change.LastEventID())
	case *Reset:
		return fmt.Sprintf("reset, %s, at %s", change.Reason, change.LastEventID())
	case *Interrupted:
		return "interrupted at " + change.LastEventID()
	}
	return fmt.Sprintf("%T", change)
}

func TestAStreamThatIsCutInTheMiddleOfAnEventGoesOnBehindTheLastWholeOne(t *testing.T) {
	var asked []string
	answers := []func(http.ResponseWriter){
		func(writer http.ResponseWriter) {
			stream(writer, ": hello\n\nevent: opened\nid: 1.a\ndata: {\"resumed\":false}\n\n"+changed("2.a", "t1"))
			stream(writer, "event: memory\nid: 3.a\ndata: {\"clock\":\"t2\",\"pend")
			panic(http.ErrAbortHandler)
		},
		func(writer http.ResponseWriter) {
			// A later kind of event, and an id alone.
			stream(writer, "event: later\nid: 4.a\ndata: x\n\nid: 5.a\n\n")
		},
		func(writer http.ResponseWriter) {
			writer.Header().Set("Retry-After", "2")
			respond(writer, 503, "application/problem+json", `{"code":"HS8078"}`)
		},
		func(writer http.ResponseWriter) {
			stream(writer, "event:reset\r\nid:6.a\r\ndata:{\"reason\":\r\ndata:\"old\"}\r\n\r\nevent: left\nid: 7.a\ndata: {\"memory_id\":\"m\"}\n\n")
			panic(http.ErrAbortHandler)
		},
		func(writer http.ResponseWriter) {
			respond(writer, 401, "application/problem+json", `{"code":"HS6511","title":"no token"}`)
		},
	}
	client := clientOf(t, func(writer http.ResponseWriter, request *http.Request) {
		asked = append(asked, request.Header.Get("Last-Event-ID")+" "+request.RequestURI+" "+request.Header.Get("Accept"))
		answers[len(asked)-1](writer)
	}, Options{})
	var pauses []time.Duration
	client.sleep = func(_ context.Context, wait time.Duration) error {
		pauses = append(pauses, wait)
		return nil
	}
	var heard []string
	var last error
	for change, err := range client.Follow(context.Background(), FollowQuery{UserID: "u", SessionID: "s"}) {
		if err != nil {
			last = err
			continue
		}
		heard = append(heard, told(change))
	}
	wanted := []string{
		"opened false at 1.a", "memory m t1 at 2.a", "interrupted at 2.a", "interrupted at 5.a", "interrupted at 5.a",
		"reset, old, at 6.a", "left m at 7.a", "interrupted at 7.a",
	}
	if !slices.Equal(heard, wanted) || !errors.Is(last, ErrUnauthorized) {
		t.Errorf("%q, %v", heard, last)
	}
	const rest = " /v1/events?session_id=s&user_id=u text/event-stream"
	if !slices.Equal(asked, []string{rest, "2.a" + rest, "5.a" + rest, "5.a" + rest, "7.a" + rest}) {
		t.Errorf("%q", asked)
	}
	if len(pauses) != 4 || pauses[2] != 2*time.Second {
		t.Errorf("the node has asked for 2 s: %v", pauses)
	}
	if _, isSeen := client.Seen("m"); isSeen {
		t.Error("what a stream has told counts as read by nobody")
	}
}

func TestAStreamEndsWithItsLoopItsContextAndWhatIsNoNode(t *testing.T) {
	opened := func(writer http.ResponseWriter, request *http.Request) {
		stream(writer, "event: opened\nid: 1.a\ndata: {\"resumed\":true}\n\n")
		<-request.Context().Done()
	}
	client := clientOf(t, opened, Options{})
	for change, err := range client.Follow(context.Background(), FollowQuery{LastEventID: "1.a"}) {
		if err != nil || told(change) != "opened true at 1.a" {
			t.Error(change, err)
		}
		break
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for change, err := range client.Follow(ctx, FollowQuery{}) {
		cancel()
		if (change == nil) != errors.Is(err, context.Canceled) {
			t.Error(change, err)
		}
	}
	client.silence = 10 * time.Millisecond
	for change, err := range client.Follow(context.Background(), FollowQuery{}) {
		if interrupted, isIt := change.(*Interrupted); isIt {
			if !errors.Is(interrupted.Err, errSilent) {
				t.Error(interrupted.Err)
			}
			break
		}
		if err != nil {
			t.Error(err)
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"another kind of answer": func(writer http.ResponseWriter, _ *http.Request) { respond(writer, 200, "text/html", "<p>") },
		"no JSON":                func(writer http.ResponseWriter, _ *http.Request) { stream(writer, "event: memory\ndata: x\n\n") },
		"no memory":              func(writer http.ResponseWriter, _ *http.Request) { stream(writer, "event: memory\ndata: {}\n\n") },
	} {
		ends := 0
		for change, err := range clientOf(t, answer, Options{}).Follow(context.Background(), FollowQuery{}) {
			if ends++; change != nil || err == nil {
				t.Error(name, change, err)
			}
		}
		if ends != 1 {
			t.Error(name, ends)
		}
	}
	for _, err := range client.Follow(context.Background(), FollowQuery{LastEventID: "a\nb"}) {
		if !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	}
}

func TestTheNodeIsGivenTheTimeThatItAsksFor(t *testing.T) {
	attempts := 0
	client := clientOf(t, func(writer http.ResponseWriter, request *http.Request) {
		if attempts++; attempts <= 2 {
			writer.Header().Set("Retry-After", []string{"3", "1000"}[attempts-1])
			respond(writer, 429, "application/problem+json", `{"code":"HS8090"}`)
			return
		}
		respond(writer, 202, "application/json", `{"request_id":"r","timestamp":"2026-11-28T03:31:00.123Z","user_id":"u-1","repeated":true}`)
	}, Options{})
	var pauses []time.Duration
	client.sleep = func(_ context.Context, wait time.Duration) error {
		pauses = append(pauses, wait)
		return nil
	}
	requested, err := client.ForceSync(context.Background(), "u-1")
	if err != nil || requested.RequestID != "r" || requested.UserID != "u-1" || !requested.Repeated || requested.Timestamp.IsZero() {
		t.Error(requested, err)
	}
	if !slices.Equal(pauses, []time.Duration{3 * time.Second, maxPause}) {
		t.Error(pauses)
	}
	attempts, client.attempts = 0, 1
	_, err = client.ForceSync(context.Background(), "u-1")
	var problem *Problem
	if !errors.As(err, &problem) || problem.RetryAfter != 3*time.Second {
		t.Error(err)
	}
}

func TestSinglePartsAreWrittenUnderTheirIDsAndWithTheClockOfTheirMemory(t *testing.T) {
	var asked []string
	client := clientOf(t, func(writer http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		asked = append(asked, fmt.Sprintf("%s %s %s %s", request.Method, request.RequestURI, request.Header.Get("If-Match"), body))
		if request.Method == http.MethodGet {
			respond(writer, 200, "application/json", `{"clock":"t","pending":true,"entities":[{"id":"e"}],"relationships":[]}`)
			return
		}
		respond(writer, 409, "application/problem+json", `{"code":"HS8068",`+memoryJSON("now")[1:])
	}, Options{})
	ctx := context.Background()
	parts, err := client.Entities(ctx, "m")
	if err != nil || len(parts.Objects) != 1 || parts.Clock != "t" || !parts.Pending {
		t.Error(parts, err)
	}
	if parts, err = client.Relationships(ctx, "m"); err != nil || len(parts.Objects) != 0 {
		t.Error(parts, err)
	}
	_, putEntity := client.PutEntity(ctx, "m", "a/b", "t", Fields{"name": "tea"})
	_, putRelationship := client.PutRelationship(ctx, "m", "r", "", nil)
	_, deleted := client.DeleteRelationship(ctx, "m", "r", "t")
	for _, err := range []error{putEntity, putRelationship, deleted} {
		var problem *Problem
		if !errors.Is(err, ErrConflict) || !errors.As(err, &problem) || problem.Memory.Clock != "now" {
			t.Error(err)
		}
	}
	if !slices.Equal(asked[2:], []string{
		`PUT /v1/memories/m/entities/a%2Fb "t" {"name":"tea"}`,
		`PUT /v1/memories/m/relationships/r  {}`,
		`DELETE /v1/memories/m/relationships/r "t" `,
	}) {
		t.Errorf("%q", asked)
	}
	if _, err := client.PutEntity(ctx, "m", "..", "", nil); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestASearchByAnEmbeddingIsAPostAndOneByWordsAGet(t *testing.T) {
	var asked []string
	client := clientOf(t, func(writer http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		asked = append(asked, request.Method+" "+request.RequestURI+" "+string(body))
		respond(writer, 200, "application/json", `{"hits":[`+memoryJSON("t")+`],"truncated":true,"compared":3,"skipped":2}`)
	}, Options{})
	score, at := 0.25, time.Date(2026, 11, 28, 3, 0, 0, 5, time.UTC)
	query := SearchQuery{Text: "green tea", UserID: "u", Type: "semantic", CreatedFrom: at, TopK: 3, MinScore: &score}
	for range 2 {
		hits, err := client.Search(context.Background(), query)
		if err != nil || len(hits.Memories) != 1 || !hits.Truncated || hits.Compared != 3 || hits.Skipped != 2 {
			t.Error(hits, err)
		}
		query.Embedding, query.Weight = []float64{0.5, -1}, &score
	}
	if !slices.Equal(asked, []string{
		"GET /v1/memories/search?created_from=2026-11-28T03%3A00%3A00.000000005Z&min_score=0.25&query=green+tea&top_k=3&type=semantic&user_id=u ",
		`POST /v1/memories/search {"created_from":"2026-11-28T03:00:00.000000005Z","embedding":[0.5,-1],"min_score":0.25,"query":"green tea","top_k":3,"type":"semantic","user_id":"u","weight":0.25}`,
	}) {
		t.Errorf("%q", asked)
	}
}

func TestAHistoryAndASnapshotAreRead(t *testing.T) {
	var asked []string
	client := clientOf(t, func(writer http.ResponseWriter, request *http.Request) {
		asked = append(asked, request.RequestURI)
		if strings.HasSuffix(request.RequestURI, "/snapshot") {
			respond(writer, 200, "application/json", `[{"part":1},{"part":2}]`)
			return
		}
		respond(writer, 200, "application/json", `{"memory_id":"m","complete":true,"truncated":false,"next":"n",
			"states":[{"number":2,"source":"stream","status":"active","changed":[{"path":"content","value":"tea"},{"path":"tags","bytes":5000}],"event_ids":["e"]}],
			"events":[{"event_id":"e","counter":1,"event_type":"memory.created","supersedes":[],"in_state":2}]}`)
	}, Options{})
	ctx := context.Background()
	history, err := client.History(ctx, "m", HistoryQuery{Limit: 1, Cursor: "c"})
	if err != nil || history.Next != "n" || !history.Complete || *history.Events[0].InState != 2 || history.Events[0].Counter != 1 {
		t.Fatal(history, err)
	}
	state := history.States[0]
	if string(state.Changed[0].Value) != `"tea"` || *state.Changed[1].Bytes != 5000 || state.Entered != nil || state.Follows != nil {
		t.Error(state)
	}
	snapshot, err := client.Snapshot(ctx, "a/b")
	if err != nil || string(snapshot) != `[{"part":1},{"part":2}]` {
		t.Error(string(snapshot), err)
	}
	if !slices.Equal(asked, []string{"/v1/memories/m/history?cursor=c&limit=1", "/v1/users/a%2Fb/snapshot"}) {
		t.Errorf("%q", asked)
	}
	if _, err := client.Snapshot(ctx, ""); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}
