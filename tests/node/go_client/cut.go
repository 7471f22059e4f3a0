package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"

	"helixstream/client"
)

// acceptedOnce cuts the connection after the node has accepted a write, and before its answer
// arrives. The client repeats it, and the node accepts nothing twice.
func acceptedOnce(node *client.Client, address string) {
	target, err := url.Parse(address)
	check(err == nil, err)
	proxy, writes := httputil.NewSingleHostReverseProxy(target), 0
	cuts := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if request.Method != http.MethodGet {
			if writes++; writes%2 == 1 {
				proxy.ServeHTTP(httptest.NewRecorder(), request)
				panic(http.ErrAbortHandler)
			}
		}
		proxy.ServeHTTP(writer, request)
	}))
	defer cuts.Close()
	behind := clientOf(cuts.URL, "TOKEN")
	created, err := behind.Create(ctx, "", client.Fields{"user_id": "u-5", "content": "once"})
	check(err == nil && created.Repeated, err, created)
	updated, err := behind.Update(ctx, created.Memory.MemoryID, "", client.Fields{"content": "twice"})
	check(err == nil && updated.Repeated && !updated.Assumed && updated.Event.Counter == created.Event.Counter+1, err, updated)
	page, err := node.List(ctx, client.ListQuery{UserID: "u-5"})
	check(err == nil && len(page.Memories) == 1 && page.Memories[0].Content == "twice" && writes == 4, err, page, writes)
	found, err := node.Search(ctx, client.SearchQuery{Text: "twice", UserID: "u-5", TopK: 1})
	check(err == nil && !found.Truncated && len(found.Memories) == 1 && found.Memories[0].Clock == updated.Memory.Clock, err, found)
	_, err = node.Restore(ctx, json.RawMessage("[]"))
	var problem *client.Problem
	check(errors.As(err, &problem) && problem.Code == "HS8091", err)
}
