package main

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"helixstream/client"
)

// followed are changes of both nodes, over a stream that its reader leaves and takes up again.
func followed(a, b *client.Client) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	last := ""
	for change, err := range a.Follow(ctx, client.FollowQuery{UserID: "u-6"}) {
		check(err == nil, err)
		switch change := change.(type) {
		case *client.Opened:
			check(!change.Resumed, change)
			_, err := a.Create(ctx, "followed", client.Fields{"user_id": "u-6", "content": "one"})
			check(err == nil, err)
			continue
		case *client.Changed:
			check(change.Memory.Content == "one", change.Memory)
			last = change.LastEventID()
			if change.Memory.Pending {
				continue
			}
		default:
			check(false, change)
		}
		break
	}
	eventually("b shows the memory", func() bool {
		_, err := b.Update(ctx, "followed", "", client.Fields{"content": "two", "user_id": "u-7"})
		check(err == nil || errors.Is(err, client.ErrNotFound), err)
		return err == nil
	})
	var heard []string
	for change, err := range a.Follow(ctx, client.FollowQuery{UserID: "u-6", LastEventID: last}) {
		check(err == nil, err)
		switch change := change.(type) {
		case *client.Opened:
			check(change.Resumed, change)
		case *client.Left:
			heard = append(heard, change.MemoryID)
		default:
			check(false, change)
		}
		if len(heard) == 1 {
			break
		}
	}
	check(reflect.DeepEqual(heard, []string{"followed"}), heard)
	for change, err := range a.Follow(ctx, client.FollowQuery{LastEventID: "1.no-id-of-this-node"}) {
		check(err == nil, err)
		reset, isReset := change.(*client.Reset)
		check(isReset && strings.Contains(reset.Reason, "list the memories anew") && reset.LastEventID() != "", change)
		break
	}
}

// parts are single entities and relationships of a memory.
func parts(node *client.Client) {
	created, err := node.Create(ctx, "", client.Fields{"user_id": "u-8", "content": "parts"})
	check(err == nil, err)
	id := created.Memory.MemoryID
	put, err := node.PutEntity(ctx, id, "a/b", "", client.Fields{"name": "tea"})
	check(err == nil && !put.Assumed && len(put.Memory.Entities) == 1, err, put)
	put, err = node.PutRelationship(ctx, id, "r", put.Memory.Clock, client.Fields{"from_entity": "a/b", "to_entity": "c"})
	check(err == nil && len(put.Memory.Relationships) == 1, err, put)
	_, err = node.PutRelationship(ctx, id, "r", created.Memory.Clock, client.Fields{"from_entity": "x"})
	check(errors.Is(err, client.ErrConflict), err)
	entities, err := node.Entities(ctx, id)
	check(err == nil && len(entities.Objects) == 1 && entities.Clock == put.Memory.Clock, err, entities)
	var entity struct{ ID, Name string }
	check(json.Unmarshal(entities.Objects[0], &entity) == nil && entity.ID == "a/b" && entity.Name == "tea", entity)
	relationships, err := node.Relationships(ctx, id)
	check(err == nil && len(relationships.Objects) == 1, err, relationships)
	deleted, err := node.DeleteRelationship(ctx, id, "r", relationships.Clock)
	check(err == nil && len(deleted.Memory.Relationships) == 0 && len(deleted.Memory.Entities) == 1, err, deleted)
}

// staleMerge is a merge by a client that has not seen the latest write to the memory that is to be
// absorbed.
func staleMerge(node *client.Client, address string) {
	keeps, err := node.Create(ctx, "", client.Fields{"user_id": "u-12", "content": "keeps"})
	check(err == nil, err)
	absorbed, err := node.Create(ctx, "", client.Fields{"user_id": "u-12", "content": "absorbed"})
	check(err == nil, err)
	into, id := keeps.Memory.MemoryID, absorbed.Memory.MemoryID
	_, err = clientOf(address, "TOKEN").Update(ctx, id, "", client.Fields{"content": "written by somebody else"})
	check(err == nil, err)
	// By what this client was last shown, and by a token that the caller has kept.
	for _, fields := range []client.Fields{
		{"merged_from": []string{id}},
		{"merged_from": []string{id}, "clocks": map[string]string{id: absorbed.Memory.Clock}},
	} {
		_, err = node.Merge(ctx, into, "", fields)
		var problem *client.Problem
		check(errors.Is(err, client.ErrConflict) && errors.As(err, &problem) && problem.Code == "HS8068", err)
	}
	shown, err := node.Read(ctx, id)
	check(err == nil && shown.Content == "written by somebody else", err, shown)
	merged, err := node.Merge(ctx, into, "", client.Fields{"merged_from": []string{id}})
	check(err == nil && !merged.Assumed, err, merged)
	_, err = node.Read(ctx, id)
	check(errors.Is(err, client.ErrNotFound), err)
}

// settled is a conflict of two nodes, by what the list of conflicts has shown.
func settled(a, b *client.Client) {
	_, err := a.Create(ctx, "disputed", client.Fields{"user_id": "u-9", "content": "by a"})
	check(err == nil, err)
	var shown *client.Memory
	eventually("b shows the memory", func() bool {
		shown, err = b.Read(ctx, "disputed")
		return err == nil
	})
	_, err = a.Update(ctx, "disputed", "", client.Fields{"content": "by a, again"})
	check(err == nil, err)
	_, err = b.Update(ctx, "disputed", shown.Clock, client.Fields{"content": "by b"})
	check(err == nil, err)
	var page *client.Page
	eventually("a lists the conflict", func() bool {
		page, err = a.Conflicts(ctx, client.ConflictsQuery{UserID: "u-9", Limit: 1})
		check(err == nil, err)
		return len(page.Memories) == 1
	})
	disputed := page.Memories[0]
	check(disputed.MemoryID == "disputed" && slices.Contains(disputed.ConflictedFields, "content"), disputed)
	_, err = a.Update(ctx, "disputed", disputed.Clock, client.Fields{"content": "settled"})
	check(err == nil, err)
	eventually("both list none", func() bool {
		one, err := a.Conflicts(ctx, client.ConflictsQuery{UserID: "u-9"})
		check(err == nil, err)
		other, err := b.Conflicts(ctx, client.ConflictsQuery{UserID: "u-9"})
		check(err == nil, err)
		return len(one.Memories) == 0 && len(other.Memories) == 0
	})
}

// near are memories that an embedding finds.
func near(node *client.Client) {
	for id, embedding := range map[string][]float64{"near": {1, 0.1}, "far": {-1, 0}, "other": {1, 2, 3}} {
		_, err := node.Create(ctx, id, client.Fields{"user_id": "u-10", "content": id, "embedding": embedding})
		check(err == nil, err)
	}
	none := 0.0
	hits, err := node.Search(ctx, client.SearchQuery{Embedding: []float64{1, 0}, UserID: "u-10", MinScore: &none})
	check(err == nil && len(hits.Memories) == 1 && hits.Memories[0].MemoryID == "near" && hits.Compared == 2 && hits.Skipped == 1, err, hits)
	check(hits.Memories[0].Score > 0.9, hits.Memories[0])
	both, err := node.Search(ctx, client.SearchQuery{Text: "far", Embedding: []float64{1, 0}, Weight: &none, UserID: "u-10", TopK: 1})
	check(err == nil && len(both.Memories) == 1 && both.Memories[0].MemoryID == "far", err, both)
	_, err = node.Search(ctx, client.SearchQuery{Embedding: []float64{0, 0}})
	check(errors.Is(err, client.ErrInvalid), err)
}

// remembered are the states of a memory, and a snapshot of its user that another node restores.
func remembered(a, b *client.Client) {
	created, err := a.Create(ctx, "", client.Fields{"user_id": "u-11", "content": "first"})
	check(err == nil, err)
	id := created.Memory.MemoryID
	var history *client.History
	eventually("the history has the event", func() bool {
		history, err = a.History(ctx, id, client.HistoryQuery{})
		check(err == nil && history.MemoryID == id && len(history.Events) == 1, err, history)
		return history.Events[0].InState != nil
	})
	state := history.States[0]
	check(history.Complete && state.Source == "stream" && state.Number == *history.Events[0].InState, history)
	check(reflect.DeepEqual(state.EventIDs, []string{created.Event.EventID}) && state.Version == created.Event.Version, state)
	isContent := func(change client.FieldChange) bool {
		return change.Path == "content" && string(change.Value) == `"first"`
	}
	check(slices.ContainsFunc(state.Changed, isContent), state)

	snapshot, err := a.Snapshot(ctx, "u-11")
	check(err == nil, err)
	var one struct {
		UserID   string `json:"user_id"`
		Memories []client.Resolved
	}
	check(json.Unmarshal(snapshot, &one) == nil && one.UserID == "u-11" && len(one.Memories) == 1, string(snapshot))
	check(one.Memories[0].Content == "first" && one.Memories[0].UserID == "u-11", one)
	restored, err := b.Restore(ctx, snapshot)
	check(err == nil && restored.UserID == "u-11" && restored.Memories == 1, err, restored)
	shown, err := b.Read(ctx, id)
	check(err == nil && shown.Content == "first", err, shown)
}

// registered are the nodes, the state of one, and what it asks the stream for.
func registered(node *client.Client) {
	status, err := node.Status(ctx)
	check(err == nil && status.NodeID != "" && status.Counter > 0 && status.Memories > 0 && len(status.Positions) > 0, err, status)
	var nodes *client.NodeList
	eventually("both nodes are listed", func() bool {
		nodes, err = node.Nodes(ctx)
		check(err == nil, err)
		return nodes.Complete && len(nodes.Nodes) == 2
	})
	for _, one := range nodes.Nodes {
		check(one.Status == "active" && one.Name != "" && one.SoftwareVersion != "" && one.Clock.Counter > 0 && !one.JoinedAt.IsZero(), one)
	}
	eventually("the other node is a peer", func() bool {
		status, err = node.Status(ctx)
		check(err == nil, err)
		return len(status.Peers) == 1 && status.Peers[0].Status == "active" && status.Peers[0].NodeID != status.NodeID
	})
	requested, err := node.ForceSync(ctx, "u-5")
	check(err == nil && requested.UserID == "u-5" && requested.RequestID != "" && !requested.Timestamp.IsZero(), err, requested)
}
