// Command app is the workload of the experiments: a server that answers with its revision.
//
// It is small on purpose: what an experiment measures is the way in which a new revision arrives,
// not the work that the revision does.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// grace is how long requests may go on after SIGTERM; shorter than the kubelet's 30 seconds.
const grace = 10 * time.Second

// setting returns an environment variable, or what holds without it.
func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// handler answers GET / with the revision and GET /healthz with ok.
func handler(revision string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, revision)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// serve answers requests until the context ends, and then finishes those that are under way.
func serve(ctx context.Context, listener net.Listener, revision string) error {
	server := &http.Server{Handler: handler(revision), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	return server.Shutdown(last)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", setting("ADDRESS", ":8080"))
	if err != nil {
		log.Fatal(err)
	}
	revision := setting("REVISION", "unset")
	log.Printf("revision %s on %s", revision, listener.Addr())
	if err := serve(ctx, listener, revision); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
