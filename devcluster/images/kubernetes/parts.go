package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// How long the parts get to end by themselves; `docker stop` kills after ten seconds.
const grace = 8 * time.Second

// part is a running process; done is closed when it has ended.
type part struct {
	name    string
	command *exec.Cmd
	done    chan struct{}
}

// supervisor owns the running parts, in the order of their start.
type supervisor struct {
	parts []part
	ended chan string
}

// supervise runs the parts until it is told to end or one of them ends by itself, and answers the exit code: 0 or 1.
// The controller manager gives up after ten seconds without an API server, so it starts when that is ready.
func supervise(keys keyFiles) int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	running := supervisor{ended: make(chan string, 3)}
	defer running.end()
	running.start("etcd", "--data-dir", filepath.Join(dataDirectory, "db"), "--log-level", "warn",
		"--listen-client-urls", etcdAddress, "--advertise-client-urls", etcdAddress,
		"--listen-peer-urls", "http://127.0.0.1:2380")
	running.start("kube-apiserver", "--etcd-servers", etcdAddress, "--secure-port", "6443", "--bind-address", "0.0.0.0",
		"--tls-cert-file", keys.serving.certificate, "--tls-private-key-file", keys.serving.key,
		"--client-ca-file", keys.authority, "--authorization-mode", "Node,RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file", keys.tokenKey, "--service-account-signing-key-file", keys.tokenKey,
		"--service-cluster-ip-range", serviceRange)
	ready, err := readiness(keys)
	if err != nil {
		log.Printf("failed to read the certificates: %v", err)
		return 1
	}
	for {
		select {
		case <-stop:
			return 0
		case which := <-running.ended:
			log.Printf("a part ended by itself: %s", which)
			return 1
		case <-ready:
			ready = nil
			running.start("kube-controller-manager", "--kubeconfig", controllerKubeconfig,
				"--use-service-account-credentials", "--service-account-private-key-file", keys.tokenKey,
				"--root-ca-file", keys.authority, "--bind-address", "127.0.0.1", "--leader-elect=false")
		}
	}
}

func (running *supervisor) start(name string, arguments ...string) {
	command := exec.Command(filepath.Join("/bin", name), arguments...)
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Start(); err != nil {
		log.Fatalf("failed to start %s: %v", name, err)
	}
	done := make(chan struct{})
	running.parts = append(running.parts, part{name, command, done})
	go func() {
		err := command.Wait()
		close(done)
		running.ended <- fmt.Sprintf("%s: %v", name, err)
	}()
}

// end asks the parts to end, the last one first: an API server without its etcd cannot end in order. What is left when the
// time is over ends with this process.
func (running *supervisor) end() {
	deadline := time.After(grace)
	for i := len(running.parts) - 1; i >= 0; i-- {
		_ = running.parts[i].command.Process.Signal(syscall.SIGTERM)
		select {
		case <-running.parts[i].done:
		case <-deadline:
			log.Printf("%s does not end", running.parts[i].name)
			return
		}
	}
}

// readiness answers a channel that is closed when the API server is ready.
func readiness(keys keyFiles) (<-chan struct{}, error) {
	certificate, err := tls.LoadX509KeyPair(keys.administrator.certificate, keys.administrator.key)
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(keys.authority)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}},
	}}
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		for {
			if answer, err := client.Get(apiAddress + "/readyz"); err == nil {
				_ = answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					return
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	return ready, nil
}
