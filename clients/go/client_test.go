package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const token = "hs_secret-of-the-test"

// memoryJSON is the answer about a memory with this clock token.
func memoryJSON(clock string) string {
	return fmt.Sprintf(`{"clock":%q,"pending":false,"memory":{"memory_id":"m","content":"tea","status":"active",
		"created_at":"2026-11-28T03:30:00.123456789Z","updated_at":"2026-11-28T03:30:00Z","version":1,"vector_clock":{"n":1},"event_ids":["e"]}}`, clock)
}

// clientOf makes a client of a handler, with pauses as short as they come.
func clientOf(t *testing.T, handler http.HandlerFunc, options Options) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	if options.Token == nil {
		options.Token = func(context.Context) (string, error) { return token, nil }
	}
	client, err := New(server.URL, options)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func respond(writer http.ResponseWriter, status int, kind, body string) {
	writer.Header().Set("Content-Type", kind)
	writer.WriteHeader(status)
	_, _ = io.WriteString(writer, body)
}

func TestAWriteIsRepeatedWithItsKeyAndItsClockUntilItIsAnswered(t *testing.T) {
	var keys, clocks []string
	client := clientOf(t, func(writer http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodGet {
			respond(writer, 200, "application/json", memoryJSON("t1"))
			return
		}
		keys = append(keys, request.Header.Get("Idempotency-Key"))
		clocks = append(clocks, request.Header.Get("If-Match"))
		switch len(keys) {
		case 1:
			panic(http.ErrAbortHandler) // The connection breaks.
		case 2:
			writer.Header().Set("Retry-After", "0")
			respond(writer, 503, "application/problem+json", `{"code":"HS8076","title":"stopping","detail":"","status":503}`)
		default:
			respond(writer, 200, "application/json", memoryJSON("t2"))
		}
	}, Options{})
	ctx := context.Background()
	if _, err := client.Read(ctx, "m"); err != nil {
		t.Fatal(err)
	}
	written, err := client.Update(ctx, "m", "", Fields{"content": "tea"})
	if err != nil || written.Memory.Clock != "t2" {
		t.Fatal(written, err)
	}
	if len(keys) != 3 || keys[0] == "" || keys[0] != keys[1] || keys[1] != keys[2] {
		t.Errorf("keys of the attempts: %q", keys)
	}
	if clocks[2] != `"t1"` {
		t.Errorf("If-Match: %q", clocks)
	}
	if _, err := client.Update(ctx, "m", "", Fields{"content": "tea"}); err != nil || clocks[3] != `"t2"` || keys[3] == keys[0] {
		t.Errorf("the next write has the next token and another key: %q %q %v", clocks, keys, err)
	}
	if _, err := client.Update(WithIdempotencyKey(ctx, "mine"), "m", "older", nil); err != nil || keys[4] != "mine" || clocks[4] != `"older"` {
		t.Errorf("the caller's key and token: %q %q %v", keys, clocks, err)
	}
}

func TestNoErrorHasTheToken(t *testing.T) {
	quotes := func(writer http.ResponseWriter, request *http.Request) {
		said := request.Header.Get("Authorization")
		respond(writer, 403, "application/problem+json", fmt.Sprintf(`{"code":"HS6512","title":%q,"detail":%q,"status":403}`, said, said))
	}
	breaks := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, handler := range map[string]http.HandlerFunc{"quotes": quotes, "breaks": breaks} {
		_, err := clientOf(t, handler, Options{Attempts: 1}).Read(context.Background(), "m")
		if err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := func(context.Context) (string, error) { return token + "\n", nil }
	_, err := clientOf(t, quotes, Options{Token: broken}).Read(context.Background(), "m")
	if err == nil || strings.Contains(err.Error(), token) {
		t.Error(err)
	}
	if _, err := New("http://user:"+token+"@127.0.0.1:1", Options{}); err == nil || strings.Contains(err.Error(), token) {
		t.Error(err)
	}
	if _, err := New("http://user:"+token+"@127.0.0.1:port", Options{}); err == nil || strings.Contains(err.Error(), token) {
		t.Error(err)
	}
}

func TestATokenFollowsNoRedirect(t *testing.T) {
	var reached atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	t.Cleanup(other.Close)
	client := clientOf(t, func(writer http.ResponseWriter, request *http.Request) {
		http.Redirect(writer, request, other.URL, http.StatusTemporaryRedirect)
	}, Options{})
	_, err := client.Read(context.Background(), "m")
	var problem *Problem
	if !errors.As(err, &problem) || problem.Status != http.StatusTemporaryRedirect || reached.Load() {
		t.Error(err, reached.Load())
	}
}

func TestAnAttemptAndAContextEnd(t *testing.T) {
	ends := make(chan struct{})
	client := clientOf(t, func(_ http.ResponseWriter, request *http.Request) {
		select {
		case <-request.Context().Done():
		case <-ends:
		}
	}, Options{Timeout: 10 * time.Millisecond, Attempts: 2})
	defer close(ends)
	_, err := client.Update(context.Background(), "m", "", Fields{})
	var unanswered *Unanswered
	if !errors.As(err, &unanswered) || unanswered.Attempts != 2 || unanswered.IdempotencyKey == "" || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = client.Read(ctx, "m")
	if !errors.As(err, &unanswered) || unanswered.Attempts != 1 || unanswered.IdempotencyKey != "" || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestARefusalDoesNotHideAnEarlierAttemptWithoutAnAnswer(t *testing.T) {
	for _, last := range []struct {
		status int
		code   string
		isOpen bool
	}{{503, "HS8076", true}, {401, "HS6511", true}, {504, "", true}, {409, "HS8068", false}, {422, "HS8070", false}} {
		var attempts atomic.Int32
		client := clientOf(t, func(writer http.ResponseWriter, _ *http.Request) {
			if attempts.Add(1) == 1 {
				panic(http.ErrAbortHandler)
			}
			respond(writer, last.status, "application/problem+json", `{"code":"`+last.code+`"}`)
		}, Options{Attempts: 2})
		_, err := client.Update(context.Background(), "m", "", Fields{})
		var unanswered *Unanswered
		var problem *Problem
		if errors.As(err, &unanswered) != last.isOpen || !errors.As(err, &problem) || problem.Status != last.status {
			t.Errorf("%d: %v", last.status, err)
		}
		if last.isOpen && unanswered.IdempotencyKey == "" {
			t.Errorf("%d: the key is missing", last.status)
		}
	}
	refusing := clientOf(t, func(writer http.ResponseWriter, _ *http.Request) {
		respond(writer, 503, "application/problem+json", `{"code":"HS8076"}`)
	}, Options{Attempts: 2})
	_, err := refusing.Update(context.Background(), "m", "", Fields{})
	var unanswered *Unanswered
	if errors.As(err, &unanswered) {
		t.Errorf("nothing was written, and the caller may know it: %v", err)
	}
}

func TestAProblemIsOfAKindAndEnclosesTheMemory(t *testing.T) {
	kinds := map[int]error{404: ErrNotFound, 410: ErrNotFound, 409: ErrConflict, 401: ErrUnauthorized, 403: ErrForbidden, 422: ErrInvalid}
	for status, kind := range kinds {
		client := clientOf(t, func(writer http.ResponseWriter, _ *http.Request) {
			body := `{"code":"HS8068","title":"t","detail":"d",` + memoryJSON("now")[1:]
			respond(writer, status, "application/problem+json; charset=utf-8", body)
		}, Options{})
		_, err := client.Update(context.Background(), "m", "then", Fields{})
		var problem *Problem
		if !errors.Is(err, kind) || !errors.As(err, &problem) || problem.Code != "HS8068" || problem.Memory.Clock != "now" {
			t.Errorf("%d: %v", status, err)
		}
		if _, isSeen := client.Seen("m"); isSeen {
			t.Errorf("%d: a memory that an error encloses was not read by anybody yet", status)
		}
	}
	proxy := clientOf(t, func(writer http.ResponseWriter, _ *http.Request) { respond(writer, 500, "text/html", "<p>"+token) }, Options{})
	if _, err := proxy.Read(context.Background(), "m"); err == nil || err.Error() != "the node answers with status 500" {
		t.Error(err)
	}
}

func TestIDsAndTextsArriveAsTheyAre(t *testing.T) {
	var paths []string
	client := clientOf(t, func(writer http.ResponseWriter, request *http.Request) {
		paths = append(paths, request.RequestURI)
		respond(writer, 200, "application/json", memoryJSON("t"))
	}, Options{})
	for _, id := range []string{"search", "a/b?c#d", "ü %"} {
		if _, err := client.Read(context.Background(), id); err != nil {
			t.Error(id, err)
		}
	}
	if strings.Join(paths, " ") != "/v1/memories/%73earch /v1/memories/a%2Fb%3Fc%23d /v1/memories/%C3%BC%20%25" {
		t.Error(paths)
	}
	for _, id := range []string{"", ".", ".."} {
		if _, err := client.Read(context.Background(), id); !errors.Is(err, ErrInvalid) {
			t.Error(id, err)
		}
	}
	for _, fields := range []Fields{{"content": "\xff"}, {"metadata": map[string]any{"a": []any{"\xff"}}}, {"importance": func() {}}} {
		if _, err := client.Update(context.Background(), "m", "", fields); !errors.Is(err, ErrInvalid) {
			t.Error(fields, err)
		}
	}
}

func TestTheMemoryOfWhatWasSeenIsBounded(t *testing.T) {
	seen := newSeen()
	large := memoryAnswer{Clock: "t", Memory: make([]byte, maxSeenBytes/4)}
	for _, id := range []string{"a", "b", "c"} {
		seen.put(id, large)
	}
	seen.get("a")
	seen.put("d", large)
	seen.put("d", large)
	_, hasA := seen.get("a")
	_, hasB := seen.get("b")
	if !hasA || hasB || seen.bytes > maxSeenBytes || seen.order.Len() != len(seen.byID) {
		t.Error(hasA, hasB, seen.bytes, seen.order.Len())
	}
	seen.forget("a")
	seen.forget("a")
	if _, hasA := seen.get("a"); hasA {
		t.Error("forgotten")
	}
}
