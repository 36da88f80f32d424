// Command k3s is the entrypoint of the Kubernetes test image: etcd, kube-apiserver and kube-controller-manager behind the
// outward contract of the rancher/k3s image (`server` with its flags, port 6443, the administrator's kubeconfig at
// /etc/rancher/k3s/k3s.yaml). It has no node. It is process 1 of its container and never runs outside of one.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
)

const (
	dataDirectory = "/var/lib/rancher/k3s/server"
	kubeconfig    = "/etc/rancher/k3s/k3s.yaml"
	etcdAddress   = "http://127.0.0.1:2379"
	apiAddress    = "https://127.0.0.1:6443"
	serviceRange  = "10.43.0.0/16"
)

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	names, err := serverFlags(os.Args[1:])
	if err != nil {
		log.Fatal(err)
	}
	if hostname, err := os.Hostname(); err == nil {
		names = append(names, hostname)
	}
	if err := os.MkdirAll(filepath.Join(dataDirectory, "tls"), 0o700); err != nil {
		log.Fatal(err)
	}
	keys, err := provideKeys(filepath.Join(dataDirectory, "tls"), names)
	if err != nil {
		log.Fatalf("failed to write keys and certificates: %v", err)
	}
	if err := writeKubeconfigs(keys); err != nil {
		log.Fatalf("failed to write a kubeconfig: %v", err)
	}
	os.Exit(supervise(keys))
}

// serverFlags reads the flags of `k3s server` that mean something to this image and refuses the others, so that a
// typing error does not pass unseen. It answers the additional names for the serving certificate.
func serverFlags(arguments []string) ([]string, error) {
	if len(arguments) == 0 || arguments[0] != "server" {
		return nil, fmt.Errorf("usage: k3s server [--disable-agent] [--disable COMPONENTS] [--tls-san NAME], not %q", arguments)
	}
	var names []string
	for rest := arguments[1:]; len(rest) > 0; {
		flag, value, joined := strings.Cut(rest[0], "=")
		rest = rest[1:]
		if flag == "--disable-agent" {
			// There is no node in this image anyway.
			continue
		}
		if !joined {
			if len(rest) == 0 {
				return nil, fmt.Errorf("%s needs a value", flag)
			}
			value, rest = rest[0], rest[1:]
		}
		switch flag {
		case "--tls-san":
			names = append(names, strings.Split(value, ",")...)
		case "--disable":
			// None of the packaged components is in this image.
		default:
			return nil, fmt.Errorf("this image knows --disable, --disable-agent and --tls-san, not %q", flag)
		}
	}
	return names, nil
}
