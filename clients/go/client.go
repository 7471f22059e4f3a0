// Package client speaks to a node of helixstream over its HTTP interface (docs/node.md).
//
// The node says with each memory what its reader has seen by that: the clock token. A Client keeps
// the token of what it was last shown of each memory, and sends it with the next write of that
// memory. Each write has an idempotency key, so that it can be repeated until it is answered, and
// is accepted once.
//
// A Client may be used by several goroutines at a time.
package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"
)

const (
	defaultTimeout  = 30 * time.Second
	defaultAttempts = 4
)

// Options of a Client. The zero value of a field means its default.
type Options struct {
	// Token supplies the bearer token of each request. It is called for every attempt, so a token
	// may be replaced while the program runs. Without it no token is sent.
	Token func(context.Context) (string, error)
	// Transport carries the requests: http.DefaultTransport by default. One of your own may trust
	// other certificates.
	Transport http.RoundTripper
	// Timeout is the time for one attempt: 30 s by default.
	Timeout time.Duration
	// Attempts is how often a request is tried at most: 4 times by default. Only what may pass is
	// tried again: no answer, and the statuses 429, 502, 503 and 504.
	Attempts int
	// WaitForKafka lets a write wait until Kafka has committed its event, for 10 s at most. A write
	// for which that takes longer is accepted all the same: the state of its event is "pending".
	WaitForKafka bool
}

// Client calls a node.
type Client struct {
	base         *url.URL
	http         *http.Client
	token        func(context.Context) (string, error)
	timeout      time.Duration
	attempts     int
	waitForKafka bool
	seen         *seen
	// silence is the time after which a stream counts as cut where nothing has arrived.
	silence time.Duration
	// sleep waits before an attempt.
	sleep func(context.Context, time.Duration) error
}

// New makes a client of the node at an address such as http://127.0.0.1:8001. It sends nothing yet.
func New(address string, options Options) (*Client, error) {
	base, err := url.Parse(address)
	if err != nil {
		// The error of url.Parse quotes the address, which may have a password.
		return nil, errors.New("the address of the node is not a URL: http://127.0.0.1:8001 is one")
	}
	if (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, errors.New("the address of the node begins with http:// or https://, and names a host")
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("the address of the node has no user, query or fragment: a token is an option of its own")
	}
	if options.Timeout < 0 || options.Attempts < 0 {
		return nil, errors.New("timeout and attempts of a client are not negative")
	}
	client := &Client{
		base:         base,
		token:        options.Token,
		timeout:      options.Timeout,
		attempts:     options.Attempts,
		waitForKafka: options.WaitForKafka,
		seen:         newSeen(),
		silence:      streamSilence,
		sleep:        sleep,
	}
	if client.timeout == 0 {
		client.timeout = defaultTimeout
	}
	if client.attempts == 0 {
		client.attempts = defaultAttempts
	}
	client.http = &http.Client{
		Transport: options.Transport,
		// A node redirects nowhere, and a token must not follow whoever does.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client, nil
}

// TokenFromEnv reads the token from an environment variable, again for each request. A variable
// that is not set, or is empty, is an error.
func TokenFromEnv(name string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		token := os.Getenv(name)
		if token == "" {
			return "", fmt.Errorf("the environment variable %s has no token: set it to a token of the node", name)
		}
		return token, nil
	}
}

type idempotencyKey struct{}

// WithIdempotencyKey lets the next write have this key, of 1 to 190 bytes, instead of a random one.
// With the key and the clock of an Unanswered error the same write can be repeated for 24 hours: it
// is accepted at most once. Use a context of this kind for one write alone.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, idempotencyKey{}, key)
}
