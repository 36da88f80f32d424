package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	controllerKubeconfig = dataDirectory + "/controller.kubeconfig"
	// Test clusters are thrown away long before this.
	validity = 365 * 24 * time.Hour
)

// pair is a certificate and its key, as files.
type pair struct{ certificate, key string }

// keyFiles are the files that the parts and the kubeconfigs are made of.
type keyFiles struct {
	authority, tokenKey                string
	serving, administrator, controller pair
}

// authority signs the certificates of one cluster.
type authority struct {
	directory   string
	certificate *x509.Certificate
	key         crypto.Signer
}

// provideKeys writes a new certificate authority with everything that it signs, at each start: only this image's own
// parts and the kubeconfig that is written afterwards refer to it.
func provideKeys(directory string, names []string) (keyFiles, error) {
	var files keyFiles
	signer, err := newAuthority(directory)
	if err != nil {
		return files, err
	}
	files.authority = filepath.Join(directory, "ca.crt")
	serving := x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(10, 43, 0, 1)},
	}
	for _, name := range names {
		if address := net.ParseIP(name); address != nil {
			serving.IPAddresses = append(serving.IPAddresses, address)
		} else {
			serving.DNSNames = append(serving.DNSNames, name)
		}
	}
	if files.serving, err = signer.issue("serving", serving); err != nil {
		return files, err
	}
	client := func(name string, groups ...string) x509.Certificate {
		return x509.Certificate{
			Subject:     pkix.Name{CommonName: name, Organization: groups},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
	}
	if files.administrator, err = signer.issue("admin", client("system:admin", "system:masters")); err != nil {
		return files, err
	}
	if files.controller, err = signer.issue("controller", client("system:kube-controller-manager")); err != nil {
		return files, err
	}
	_, files.tokenKey, err = newKey(directory, "service-account")
	return files, err
}

func newAuthority(directory string) (*authority, error) {
	key, _, err := newKey(directory, "ca")
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "k3s-test-ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(encoded)
	if err != nil {
		return nil, err
	}
	return &authority{directory, certificate, key}, writePEM(filepath.Join(directory, "ca.crt"), "CERTIFICATE", encoded)
}

func (signer *authority) issue(name string, template x509.Certificate) (pair, error) {
	key, keyFile, err := newKey(signer.directory, name)
	if err != nil {
		return pair{}, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return pair{}, err
	}
	template.NotBefore, template.NotAfter = signer.certificate.NotBefore, signer.certificate.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	encoded, err := x509.CreateCertificate(rand.Reader, &template, signer.certificate, key.Public(), signer.key)
	if err != nil {
		return pair{}, err
	}
	file := filepath.Join(signer.directory, name+".crt")
	return pair{file, keyFile}, writePEM(file, "CERTIFICATE", encoded)
}

func newKey(directory, name string) (crypto.Signer, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, "", err
	}
	file := filepath.Join(directory, name+".key")
	return key, file, writePEM(file, "EC PRIVATE KEY", encoded)
}

func writePEM(file, kind string, content []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600)
}

// writeKubeconfigs writes the administrator's kubeconfig last and by renaming: whoever finds it finds all of it.
func writeKubeconfigs(keys keyFiles) error {
	if err := writeKubeconfig(controllerKubeconfig, keys.authority, keys.controller); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(kubeconfig), 0o755); err != nil {
		return err
	}
	if err := writeKubeconfig(kubeconfig+".new", keys.authority, keys.administrator); err != nil {
		return err
	}
	return os.Rename(kubeconfig+".new", kubeconfig)
}

func writeKubeconfig(file, authority string, user pair) error {
	var contents [3]string
	for i, source := range []string{authority, user.certificate, user.key} {
		content, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		contents[i] = base64.StdEncoding.EncodeToString(content)
	}
	return os.WriteFile(file, fmt.Appendf(nil, `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %s
    server: %s
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
users:
- name: default
  user:
    client-certificate-data: %s
    client-key-data: %s
`, contents[0], apiAddress, contents[1], contents[2]), 0o600)
}
