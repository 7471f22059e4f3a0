package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// An answer has one memory of about 8 MiB, or about 4 MiB and one such memory.
	maxAnswerBytes = 32 << 20
	// A snapshot has at most 64 MiB, which a restore takes.
	maxSnapshotBytes = 65 << 20
	firstPause       = 100 * time.Millisecond
	maxPause         = 5 * time.Second
)

// call is one request to the node.
type call struct {
	method string
	// path is in percent-encoding.
	path  string
	query url.Values
	body  []byte
	// clock is the token of If-Match; empty where the caller has none.
	clock string
	// key is the idempotency key; empty for a read.
	key string
	// maxBytes of the answer; 0 means maxAnswerBytes.
	maxBytes int
}

type answer struct {
	header http.Header
	body   []byte
}

// do sends a request until it is answered, for the attempts that the client has. Once an attempt of
// a write was not answered, only an answer that has looked for its key says what has become of it.
func (c *Client) do(ctx context.Context, request call) (*answer, error) {
	isOpen := false
	for attempt := 1; ; attempt++ {
		result, err := c.try(ctx, request)
		if err == nil {
			return result, nil
		}
		var problem *Problem
		isProblem := errors.As(err, &problem)
		var fault *unsendable
		isFault := errors.As(err, &fault)
		isUnanswered := !isFault && (!isProblem || problem.isOfProxy())
		isOpen = isOpen || isUnanswered && request.key != ""
		last := func(err error) error {
			if isOpen && !(isProblem && problem.knowsKey()) || isUnanswered && !isProblem {
				return &Unanswered{request.method, attempt, request.key, request.clock, err}
			}
			return err
		}
		switch {
		case isFault:
			return nil, last(fault.err)
		case isProblem && !problem.mayPass(), attempt >= c.attempts, !isProblem && ctx.Err() != nil:
			return nil, last(err)
		}
		if pauseErr := c.pause(ctx, attempt, problem); pauseErr != nil {
			if isProblem {
				pauseErr = errors.Join(pauseErr, err)
			}
			return nil, last(pauseErr)
		}
	}
}

// unsendable is an error before a request is sent: trying again does not help.
type unsendable struct{ err error }

func (u *unsendable) Error() string { return u.err.Error() }

// pause waits before the next attempt: twice as long each time, half of it at random, or as long as
// the node asks for in a problem, up to a limit. The problem may be nil.
func (c *Client) pause(ctx context.Context, attempt int, problem *Problem) error {
	wait := min(firstPause<<min(attempt-1, 16), maxPause)
	if half := int64(wait / 2); half > 0 {
		if share, err := rand.Int(rand.Reader, big.NewInt(half)); err == nil {
			wait = wait/2 + time.Duration(share.Int64())
		}
	}
	if problem != nil {
		wait = max(wait, min(problem.RetryAfter, maxPause))
	}
	return c.sleep(ctx, wait)
}

// sleep waits, or returns why the context has ended.
func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// try sends a request once.
func (c *Client) try(ctx context.Context, request call) (*answer, error) {
	token, err := c.readToken(ctx)
	if err != nil {
		return nil, &unsendable{err}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	message, err := c.message(ctx, request, token)
	if err != nil {
		return nil, &unsendable{err}
	}
	response, err := c.http.Do(message)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer response.Body.Close()
	limit := cmp.Or(request.maxBytes, maxAnswerBytes)
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(limit)+1))
	if err != nil {
		return nil, withoutURL(err)
	}
	isSuccess := isSuccess(response)
	if isSuccess && len(body) > limit && request.key != "" {
		return nil, fmt.Errorf("the answer has more than %d bytes", limit)
	}
	if len(body) > limit {
		return nil, &unsendable{fmt.Errorf("the node's answer to %s has more than %d bytes", request.method, limit)}
	}
	if !isSuccess {
		return nil, problemOf(response, body, token)
	}
	return &answer{response.Header, body}, nil
}

func isSuccess(response *http.Response) bool {
	return response.StatusCode >= 200 && response.StatusCode <= 299
}

func (c *Client) message(ctx context.Context, request call, token string) (*http.Request, error) {
	target := strings.TrimSuffix(c.base.String(), "/") + request.path
	if len(request.query) > 0 {
		target += "?" + request.query.Encode()
	}
	message, err := http.NewRequestWithContext(ctx, request.method, target, bytes.NewReader(request.body))
	if err != nil {
		return nil, errors.New("the request cannot be written as HTTP")
	}
	header := message.Header
	header.Set("Accept", "application/json")
	if request.body != nil {
		header.Set("Content-Type", "application/json")
	}
	if request.clock != "" {
		header.Set("If-Match", `"`+request.clock+`"`)
	}
	if request.key != "" {
		header.Set("Idempotency-Key", request.key)
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return message, nil
}

// readToken asks for the token. An error never has a part of it.
func (c *Client) readToken(ctx context.Context) (string, error) {
	if c.token == nil {
		return "", nil
	}
	token, err := c.token(ctx)
	if err != nil {
		return "", fmt.Errorf("there is no token for the node: %w", err)
	}
	for _, char := range []byte(token) {
		if char <= ' ' || char > '~' {
			return "", errors.New("the token has a character that HTTP does not allow in it: look for a line end")
		}
	}
	return token, nil
}

// withoutURL removes the URL, which may have the words of a search, from an error of net/http.
func withoutURL(err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		return inner.Err
	}
	return err
}

// problemOf reads a problem document. Of another body nothing is shown, and the token not even if
// the answer quotes it.
func problemOf(response *http.Response, body []byte, token string) error {
	problem := &Problem{Status: response.StatusCode}
	if seconds, err := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16); err == nil {
		problem.RetryAfter = time.Duration(seconds) * time.Second
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if kind != "application/problem+json" {
		return problem
	}
	var document struct {
		Code, Title, Detail string
		memoryAnswer
	}
	if json.Unmarshal(body, &document) != nil {
		return problem
	}
	redacted := func(text string) string {
		if token == "" {
			return text
		}
		return strings.ReplaceAll(text, token, "(the token)")
	}
	problem.Code, problem.Title, problem.Detail = redacted(document.Code), redacted(document.Title), redacted(document.Detail)
	if len(document.Memory) > 0 {
		// A memory that cannot be read is no reason to lose the problem.
		if memory, err := document.read(); err == nil {
			problem.Memory = memory
		}
	}
	return problem
}

// keyOf returns the idempotency key of a write: that of the context, or a random one.
func keyOf(ctx context.Context) (string, error) {
	if key, ok := ctx.Value(idempotencyKey{}).(string); ok {
		isPrintable := !strings.ContainsFunc(key, func(char rune) bool { return char < ' ' || char > '~' })
		if len(key) < 1 || len(key) > 190 || !isPrintable {
			return "", fmt.Errorf("%w: an idempotency key has 1 to 190 characters of printable ASCII", ErrInvalid)
		}
		return key, nil
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("an idempotency key cannot be drawn: %w", err)
	}
	return hex.EncodeToString(random), nil
}
