package client

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Kinds of errors, for errors.Is.
var (
	// ErrNotFound: the node knows no such memory that the token may see, or it was deleted or merged.
	ErrNotFound = errors.New("the memory is not there")
	// ErrConflict: the caller has not seen the latest write of this node to the memory, or creates a
	// memory that is there. The Problem encloses the memory as it is now.
	ErrConflict = errors.New("the memory has changed, or is there already")
	// ErrUnauthorized: no valid token.
	ErrUnauthorized = errors.New("the token is not valid")
	// ErrForbidden: the token lacks a right, or is bound to other users.
	ErrForbidden = errors.New("the token does not permit it")
	// ErrInvalid: the request cannot be accepted as it is.
	ErrInvalid = errors.New("the request is not valid")
)

// Problem is an error that the node has answered.
type Problem struct {
	// Status is the HTTP status.
	Status int
	// Code is the code of helixstream, which `helixstream explain CODE` describes. It is empty
	// where a proxy has answered instead of the node.
	Code string
	// Title names the kind of the problem.
	Title string
	// Detail says what is wrong here.
	Detail string
	// Memory is the memory as the node shows it now, where the answer encloses it: after a conflict,
	// and of a deleted or merged memory.
	Memory *Memory
	// RetryAfter is how long the node asks to wait; 0 where it asks for nothing.
	RetryAfter time.Duration
}

func (p *Problem) Error() string {
	text := fmt.Sprintf("the node answers with status %d", p.Status)
	if p.Code != "" {
		text += " (" + p.Code + ")"
	}
	for _, more := range []string{p.Title, p.Detail} {
		if more != "" {
			text += ": " + more
		}
	}
	return text
}

// Is reports whether the problem is of a kind such as ErrNotFound.
func (p *Problem) Is(kind error) bool {
	switch p.Status {
	case http.StatusNotFound, http.StatusGone:
		return kind == ErrNotFound
	case http.StatusConflict:
		return kind == ErrConflict
	case http.StatusUnauthorized:
		return kind == ErrUnauthorized
	case http.StatusForbidden:
		return kind == ErrForbidden
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity:
		return kind == ErrInvalid
	}
	return false
}

// mayPass says whether the same request may succeed later.
func (p *Problem) mayPass() bool {
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusBadGateway:
		// With a code the node itself says that the event has failed for ever.
		return p.Code == ""
	}
	return false
}

// isOfProxy says whether a proxy has answered that it has no answer of the node.
func (p *Problem) isOfProxy() bool {
	return p.Code == "" && (p.Status == http.StatusBadGateway || p.Status == http.StatusGatewayTimeout)
}

// knowsKey says whether the node has looked for the idempotency key of the request before it
// answered with the problem: then no earlier attempt was accepted.
func (p *Problem) knowsKey() bool {
	switch p.Status {
	case http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusUnprocessableEntity:
		return p.Code != ""
	}
	return false
}

// Unanswered means that no answer of the node has arrived that says what has become of the request.
// A write may have been accepted. Err is a *Problem where the last attempt was refused, such as
// with 503, and an earlier one was not answered.
type Unanswered struct {
	// Method is that of the HTTP request.
	Method string
	// Attempts is how often it was tried.
	Attempts int
	// IdempotencyKey is that of a write, for WithIdempotencyKey; empty for a read.
	IdempotencyKey string
	// Clock is the clock token that the write was sent with, which a repeated write needs as well;
	// empty where there was none.
	Clock string
	// Err is what the last attempt has met.
	Err error
}

func (u *Unanswered) Error() string {
	text := fmt.Sprintf("the node has not answered %s, after %d attempts: %v", u.Method, u.Attempts, u.Err)
	if u.IdempotencyKey != "" {
		text += "; the write may have been accepted: repeat it with the same idempotency key"
	}
	return text
}

// Unwrap returns what the last attempt has met, such as context.Canceled.
func (u *Unanswered) Unwrap() error { return u.Err }
