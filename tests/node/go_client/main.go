// Checks the Go client and the store for HelixAgent against two nodes.
//
// Arguments: the addresses of two nodes. The environment has two tokens: TOKEN is bound to no
// users, TOKEN_OF_ANN to u-ann.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"time"

	"helixstream/client"
	"helixstream/client/helixagent"
	"helixstream/go-client-check/memory"
)

type store = helixagent.Store[
	memory.MemoryType, memory.Memory, memory.TimeRange, memory.SearchOptions, memory.ListOptions, memory.Entity, memory.Relationship,
]

var _ memory.MemoryStore = (*store)(nil)

var ctx = context.Background()

// check ends the program where something does not hold, and says at which line.
func check(holds bool, values ...any) {
	if !holds {
		_, file, line, _ := runtime.Caller(1)
		fmt.Fprintf(os.Stderr, "%s:%d: %+v\n", file, line, values)
		os.Exit(1)
	}
}

// eventually polls until something holds.
func eventually(what string, holds func() bool) {
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		check(time.Now().Before(end), "this did not come: "+what)
	}
}

func clientOf(address, token string) *client.Client {
	node, err := client.New(address, client.Options{Token: client.TokenFromEnv(token)})
	check(err == nil, err)
	return node
}

func storeOf(node *client.Client) *store {
	return helixagent.NewStore[
		memory.MemoryType, memory.Memory, memory.TimeRange, memory.SearchOptions, memory.ListOptions, memory.Entity, memory.Relationship,
	](node)
}

func main() {
	a, b := clientOf(os.Args[1], "TOKEN"), clientOf(os.Args[2], "TOKEN")
	oneMemory(storeOf(a))
	expired(storeOf(a))
	twoReaders(storeOf(a))
	twoNodes(a, b)
	found(storeOf(a))
	listed(storeOf(a))
	refused(storeOf(a))
	graph(a, b)
	relationshipsOfOne(storeOf(a))
	parts(a)
	staleMerge(a, os.Args[1])
	followed(a, b)
	settled(a, b)
	near(a)
	remembered(a, b)
	registered(a)
	tokens(os.Args[1])
	acceptedOnce(a, os.Args[1])
	fmt.Println("every call was answered")
}

func oneMemory(store *store) {
	given := memory.Memory{
		UserID: "u-1", SessionID: "s-1", Content: "likes tea", Summary: "tea", Type: "semantic", Category: "drinks",
		Metadata: map[string]any{"n": 1.5, "nested": map[string]any{"a": []any{true}}}, Embedding: []float32{0.1, -2}, Importance: 0.25,
	}
	added := given
	check(store.Add(ctx, &added) == nil)
	check(added.ID != "" && !added.CreatedAt.IsZero() && added.Content == "likes tea", added)
	read, err := store.Get(ctx, added.ID)
	check(err == nil && reflect.DeepEqual(*read, added), err, read, added)
	delete(read.Metadata, helixagent.ClockKey)
	read.ID, read.CreatedAt, read.UpdatedAt = given.ID, given.CreatedAt, given.UpdatedAt
	check(reflect.DeepEqual(*read, given), read, given)

	changed := added
	changed.Content, changed.Category, changed.Embedding, changed.SessionID = "likes coffee", "", nil, ""
	changed.Metadata = map[string]any{"new": "x", helixagent.ClockKey: added.Metadata[helixagent.ClockKey]}
	check(store.Update(ctx, &changed) == nil)
	read, err = store.Get(ctx, added.ID)
	check(err == nil && reflect.DeepEqual(*read, changed), err, read, changed)
	check(read.Content == "likes coffee" && read.Category == "" && read.Type == "semantic" && read.Embedding == nil && read.SessionID == "", read)
	check(len(read.Metadata) == 2 && read.Metadata["new"] == "x", read.Metadata)
	// An update of nothing writes nothing.
	check(store.Update(ctx, read) == nil && read.Metadata[helixagent.ClockKey] == changed.Metadata[helixagent.ClockKey])

	again := given
	again.ID = added.ID
	check(errors.Is(store.Add(ctx, &again), client.ErrConflict))
	check(store.Delete(ctx, added.ID) == nil)
	_, err = store.Get(ctx, added.ID)
	check(errors.Is(err, client.ErrNotFound), err)
	check(errors.Is(store.Update(ctx, read), client.ErrNotFound))
	check(errors.Is(store.Delete(ctx, added.ID), client.ErrNotFound))
	check(errors.Is(store.Delete(ctx, "unknown"), client.ErrNotFound))
	check(errors.Is(store.Update(ctx, &memory.Memory{ID: "unknown"}), client.ErrNotFound))
}

// expired is a memory whose time is set, cleared, and set to one that has passed.
func expired(store *store) {
	later := time.Now().Add(time.Hour)
	added := &memory.Memory{UserID: "u-1", Content: "expires", ExpiresAt: &later, Metadata: map[string]any{"a": "b"}}
	check(store.Add(ctx, added) == nil)
	read, err := store.Get(ctx, added.ID)
	check(err == nil && read.ExpiresAt != nil && read.ExpiresAt.Equal(later) && len(read.Metadata) == 2, err, read)
	read.Content = "expires later"
	check(store.Update(ctx, read) == nil && read.ExpiresAt.Equal(later), read)
	read.ExpiresAt = nil
	check(store.Update(ctx, read) == nil && read.ExpiresAt == nil, read)
	read, err = store.Get(ctx, added.ID)
	check(err == nil && read.ExpiresAt == nil && len(read.Metadata) == 2, err, read)
	passed := time.Now().Add(-time.Hour)
	read.ExpiresAt = &passed
	check(store.Update(ctx, read) == nil)
	eventually("the memory has expired", func() bool {
		_, err := store.Get(ctx, added.ID)
		check(err == nil || errors.Is(err, client.ErrNotFound), err)
		return err != nil
	})
}

// twoReaders share one store, and the later write of the two has not seen the earlier one.
func twoReaders(store *store) {
	check(store.Add(ctx, &memory.Memory{ID: "shared", UserID: "u-1", Content: "one"}) == nil)
	first, err := store.Get(ctx, "shared")
	check(err == nil, err)
	second, err := store.Get(ctx, "shared")
	check(err == nil, err)
	first.Content, second.Content = "by the first", "by the second"
	check(store.Update(ctx, first) == nil)
	err = store.Update(ctx, second)
	check(errors.Is(err, client.ErrConflict), err)
	present, isThere := store.Present(err)
	check(isThere && present.Content == "by the first", present)
	present.Content = "by the second, who has seen the first"
	check(store.Update(ctx, present) == nil)
	// A memory without a token is by somebody who has seen what the store was last shown.
	check(store.Update(ctx, &memory.Memory{ID: "shared", UserID: "u-1", Content: "without a token"}) == nil)
	read, err := store.Get(ctx, "shared")
	check(err == nil && read.Content == "without a token", err, read)
}

// twoNodes write one memory: in turn, and then without having seen each other's write.
func twoNodes(a, b *client.Client) {
	atA, atB := storeOf(a), storeOf(b)
	mine := &memory.Memory{ID: "across", UserID: "u-2", Content: "by a", Type: "episodic", Metadata: map[string]any{"at": "a"}}
	check(atA.Add(ctx, mine) == nil)
	var yours *memory.Memory
	eventually("b shows the memory of a", func() bool {
		yours, _ = atB.Get(ctx, "across")
		return yours != nil
	})
	check(yours.Type == "episodic" && yours.Metadata["at"] == "a", yours)
	// What HelixAgent does not know stays.
	_, err := b.Update(ctx, "across", "", client.Fields{"tags": []string{"kept"}})
	check(err == nil, err)
	eventually("a shows the tags", func() bool {
		shown, err := a.Read(ctx, "across")
		return err == nil && len(shown.Tags) == 1 && !shown.Pending
	})

	mine, err = atA.Get(ctx, "across")
	check(err == nil, err)
	yours, err = atB.Get(ctx, "across")
	check(err == nil, err)
	mine.Content, yours.Content, yours.Importance = "by a, again", "by b", 0.75
	check(atA.Update(ctx, mine) == nil && atB.Update(ctx, yours) == nil)
	eventually("both show the conflict", func() bool {
		one, err := a.Read(ctx, "across")
		check(err == nil, err)
		other, err := b.Read(ctx, "across")
		check(err == nil, err)
		isSame := one.Content == other.Content && one.Importance == 0.75 && other.Importance == 0.75
		return isSame && reflect.DeepEqual(one.ConflictedFields, []string{"content"}) && !one.Pending && !other.Pending
	})
	read, err := a.Read(ctx, "across")
	check(err == nil && reflect.DeepEqual(read.Tags, []string{"kept"}), err, read)
	// Whoever has seen both settles it.
	mine, err = atA.Get(ctx, "across")
	check(err == nil, err)
	mine.Content = "settled"
	check(atA.Update(ctx, mine) == nil)
	eventually("the conflict is settled", func() bool {
		shown, err := b.Read(ctx, "across")
		return err == nil && shown.Content == "settled" && len(shown.ConflictedFields) == 0
	})
}

func found(store *store) {
	for n, text := range []string{"green tea at noon", "green apples", "black coffee", "tea and green apples"} {
		kind := memory.MemoryType([]string{"semantic", "episodic"}[n%2])
		check(store.Add(ctx, &memory.Memory{ID: fmt.Sprintf("found-%d", n), UserID: "u-3", SessionID: "s-3", Content: text, Type: kind, Category: text[:3]}) == nil)
	}
	ids := func(query string, options *memory.SearchOptions) string {
		memories, err := store.Search(ctx, query, options)
		check(err == nil, query, err)
		var ids []string
		for _, memory := range memories {
			check(memory.Metadata[helixagent.ClockKey] != nil, memory)
			ids = append(ids, strings.TrimPrefix(memory.ID, "found-"))
		}
		return strings.Join(ids, " ")
	}
	all := func(text string) bool {
		return len(text) == 3 && strings.Contains(text, "0") && strings.Contains(text, "3")
	}
	check(all(ids("green TEA", &memory.SearchOptions{UserID: "u-3", MinScore: 1, TopK: 10})))
	check(all(ids("apples tea noon", &memory.SearchOptions{UserID: "u-3", SessionID: "s-3", MinScore: 0.5})))
	check(ids("green", &memory.SearchOptions{UserID: "u-3", Type: "semantic"}) == "0")
	check(ids("green", &memory.SearchOptions{UserID: "u-3", Category: "tea"}) == "3")
	check(len(ids("green", &memory.SearchOptions{UserID: "u-3", TopK: 2})) == 3)
	check(ids("green", &memory.SearchOptions{UserID: "somebody else"}) == "")
	check(all(ids("tea", nil)))
	// HelixAgent's manager asks for the graph by default; the hits are the same memories.
	check(all(ids("green tea", &memory.SearchOptions{UserID: "u-3", MinScore: 1, IncludeGraph: true})))
	one, err := store.Get(ctx, "found-1")
	check(err == nil, err)
	exactly := &memory.TimeRange{Start: one.CreatedAt, End: one.CreatedAt}
	check(ids("green", &memory.SearchOptions{UserID: "u-3", TimeRange: exactly}) == "1")
	_, err = store.Search(ctx, " ", nil)
	check(errors.Is(err, client.ErrInvalid), err)
}

func listed(store *store) {
	const memories = 230
	for n := range memories {
		check(store.Add(ctx, &memory.Memory{UserID: "u-4", SessionID: "s-4", Content: fmt.Sprint(n), Importance: float64(n % 7)}) == nil)
	}
	byUser, err := store.GetByUser(ctx, "u-4", nil)
	check(err == nil && len(byUser) == memories, err, len(byUser))
	for n, one := range byUser {
		check(one.Content == fmt.Sprint(n), n, one)
	}
	bySession, err := store.GetBySession(ctx, "s-4")
	check(err == nil && reflect.DeepEqual(bySession, byUser), err, len(bySession))
	some, err := store.GetByUser(ctx, "u-4", &memory.ListOptions{Limit: 2, Offset: 229, SortBy: "updated_at", Order: "desc"})
	check(err == nil && len(some) == 1 && some[0].Content == "0", err, some)
	some, err = store.GetByUser(ctx, "u-4", &memory.ListOptions{Limit: 1, SortBy: "importance", Order: "desc"})
	check(err == nil && len(some) == 1 && some[0].Importance == 6, err, some)
	some, err = store.GetByUser(ctx, "u-4", &memory.ListOptions{Offset: 1000})
	check(err == nil && some != nil && len(some) == 0, err, some)
	some, err = store.GetByUser(ctx, "nobody", nil)
	check(err == nil && some != nil && len(some) == 0, err, some)
}

// refused are all that a node has nothing for: an error of its own kind, and nothing is written.
func refused(store *store) {
	_, search := store.Search(ctx, "tea", &memory.SearchOptions{TopK: 1001})
	_, list := store.GetByUser(ctx, "u-1", &memory.ListOptions{SortBy: "access_count"})
	for _, err := range []error{
		search, list,
	} {
		var unsupported *helixagent.Unsupported
		check(errors.As(err, &unsupported) && errors.Is(err, errors.ErrUnsupported), err)
	}
	reserved := &memory.Memory{Content: "x", Metadata: map[string]any{"helixagent.type": "y"}}
	check(errors.Is(store.Add(ctx, reserved), client.ErrInvalid))
	for _, session := range []string{helixagent.EntitySession, helixagent.RelationshipSession} {
		check(errors.Is(store.Add(ctx, &memory.Memory{Content: "x", SessionID: session}), client.ErrInvalid))
	}
	_, err := store.GetByUser(ctx, "u-1", &memory.ListOptions{SortBy: "age"})
	check(errors.Is(err, client.ErrInvalid), err)
}

func tokens(address string) {
	os.Setenv("WRONG", "hs_no-token-of-this-node")
	_, err := storeOf(clientOf(address, "WRONG")).Get(ctx, "shared")
	check(errors.Is(err, client.ErrUnauthorized) && !strings.Contains(err.Error(), os.Getenv("WRONG")), err)
	for change, err := range clientOf(address, "WRONG").Follow(ctx, client.FollowQuery{}) {
		check(change == nil && errors.Is(err, client.ErrUnauthorized), change, err)
	}
	_, err = storeOf(clientOf(address, "NOT_SET")).Get(ctx, "shared")
	check(err != nil && strings.Contains(err.Error(), "NOT_SET"), err)
	ann := storeOf(clientOf(address, "TOKEN_OF_ANN"))
	_, err = ann.Get(ctx, "shared")
	check(errors.Is(err, client.ErrNotFound), err)
	err = ann.Add(ctx, &memory.Memory{ID: "chosen", Content: "x"})
	check(errors.Is(err, client.ErrForbidden), err)
	added := &memory.Memory{Content: "of ann"}
	check(ann.Add(ctx, added) == nil && added.UserID == "u-ann" && added.ID != "", added)
	added.Content = "of ann, again"
	check(ann.Update(ctx, added) == nil)
	// Entities have no user, so a token of users neither sees nor writes them.
	_, err = ann.GetEntity(ctx, "tea")
	check(errors.Is(err, client.ErrNotFound), err)
	check(errors.Is(ann.AddEntity(ctx, &memory.Entity{Name: "x"}), client.ErrForbidden))
	_, err = clientOf(address, "TOKEN_OF_ANN").Nodes(ctx)
	check(errors.Is(err, client.ErrForbidden), err)
	memories, err := ann.Search(ctx, "again", nil)
	check(err == nil && len(memories) == 1 && memories[0].ID == added.ID, err, memories)
}
