package main

// The node's settings: keys, kubeconfigs, configuration files and flags.

import (
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
	"strings"
	"time"
)

const (
	nodeName    = "localhost" // the API server dials the kubelet by this name
	nodeAddress = "10.88.0.1"
	podRange    = "10.88.0.0/16"

	serviceRange   = "10.96.0.0/16"
	serviceAddress = "10.96.0.1" // of the API server, for Pods

	// Where a cloud has its credentials. Here nobody listens, but somebody could:
	// only then does it prove something that a Pod can't get there.
	metadataAddress = "169.254.169.254"

	serviceAccountIssuer = "https://kubernetes.default.svc.cluster.local"

	etcdAddress       = "127.0.0.1:2379"
	apiServerURL      = "https://127.0.0.1:6443"
	containerdAddress = "unix:///run/containerd/containerd.sock"
	firewallAddress   = "127.0.0.1:20244" // kube-router's

	pauseImage     = "localhost/pause:test"
	busyboxImage   = "localhost/busybox:test"
	longshoreImage = "localhost/longshore:test"
)

// users are those that the API server knows by a token, as in a cluster made
// by the usual installers, so that RBAC and the node authoriser are put to use.
var users = []struct{ name, group string }{
	{"admin", "system:masters"},
	{"system:kube-controller-manager", ""},
	{"system:kube-scheduler", ""},
	{"system:kube-proxy", ""},
	{"system:node:" + nodeName, "system:nodes"},
	{"system:kube-router", "system:masters"}, // Kubernetes brings no role for it
}

// credentials is what a client of the API server needs.
type credentials struct {
	ca         []byte // PEM
	adminToken string
}

// config is where the components' files are.
type config struct {
	dir   string
	tools string
}

func (c config) etc(name string) string { return filepath.Join(c.dir, etcDir, name) }

func (c config) kubeconfig(user string) string {
	return c.etc(strings.TrimPrefix(strings.ReplaceAll(user, ":", "-"), "system-") + ".kubeconfig")
}

// write makes all configuration files anew.
func (c config) write() (credentials, error) {
	ca, err := c.writeKeys()
	if err != nil {
		return credentials{}, err
	}
	creds := credentials{ca: ca}
	var tokens strings.Builder
	for _, user := range users {
		token := rand.Text()
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", token, user.name, user.name, user.group)
		path := c.kubeconfig(user.name)
		if user.name == "admin" {
			creds.adminToken = token
			path = filepath.Join(c.dir, kubeconfigFile)
		}
		text := fmt.Sprintf(kubeconfigText, apiServerURL, base64.StdEncoding.EncodeToString(ca), token)
		if err := writeFile(path, []byte(text), 0o600); err != nil {
			return credentials{}, err
		}
	}
	for name, text := range map[string]string{
		"tokens.csv":        tokens.String(),
		"containerd.toml":   fmt.Sprintf(containerdText, pauseImage, c.tools, c.etc("cni")),
		"cni/pods.conflist": fmt.Sprintf(cniText, podRange),
		"audit.yaml":        fmt.Sprintf(auditText, nodeName),
		"kubelet.yaml":      fmt.Sprintf(kubeletText, cgroupName(c.dir)),
	} {
		if err := os.MkdirAll(filepath.Dir(c.etc(name)), 0o755); err != nil {
			return credentials{}, err
		}
		if err := writeFile(c.etc(name), []byte(text), 0o600); err != nil {
			return credentials{}, err
		}
	}
	return creds, nil
}

// writeKeys makes an authority, the API server's certificate from it, and the
// key that signs service account tokens. It returns the authority's certificate.
func (c config) writeKeys() ([]byte, error) {
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test cluster"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "kube-apiserver"},
		NotBefore:    authority.NotBefore,
		NotAfter:     authority.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local",
		},
		IPAddresses: []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(nodeAddress), net.ParseIP(serviceAddress)},
	}
	authorityKey, err := c.writeKey("ca.key")
	if err != nil {
		return nil, err
	}
	serverKey, err := c.writeKey("apiserver.key")
	if err != nil {
		return nil, err
	}
	if _, err := c.writeKey("service-account.key"); err != nil {
		return nil, err
	}
	ca, err := c.writeCertificate("ca.crt", authority, authority, authorityKey, authorityKey)
	if err != nil {
		return nil, err
	}
	_, err = c.writeCertificate("apiserver.crt", server, authority, serverKey, authorityKey)
	return ca, err
}

func (c config) writeKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeFile(c.etc(name), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func (c config) writeCertificate(name string, cert, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), parentKey)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return text, writeFile(c.etc(name), text, 0o644)
}

// arguments of each component, in the order in which they are started.
func (c config) arguments() [][]string {
	proxy := []string{"kube-proxy",
		"--kubeconfig=" + c.kubeconfig("system:kube-proxy"),
		"--hostname-override=" + nodeName,
		"--proxy-mode=nftables",
		"--cluster-cidr=" + podRange,
		"--oom-score-adj=0",
		"--healthz-bind-address=127.0.0.1:10256",
		"--metrics-bind-address=127.0.0.1:10249",
		// The kernel's conntrack settings belong to the host.
		"--conntrack-max-per-core=0",
		"--conntrack-min=0",
		"--conntrack-tcp-timeout-established=0",
		"--conntrack-tcp-timeout-close-wait=0",
	}
	if !bridgeIsFiltered() {
		proxy = append(proxy, "--masquerade-all")
	}
	return [][]string{
		{"containerd", "--config=" + c.etc("containerd.toml")},
		{"etcd", "--data-dir=/var/lib/etcd"},
		{"kube-apiserver",
			"--etcd-servers=http://" + etcdAddress,
			"--bind-address=0.0.0.0", // of this network namespace: Pods come by the bridge
			"--advertise-address=" + nodeAddress,
			"--cert-dir=/run/kubernetes",
			"--tls-cert-file=" + c.etc("apiserver.crt"),
			"--tls-private-key-file=" + c.etc("apiserver.key"),
			"--token-auth-file=" + c.etc("tokens.csv"),
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true",
			"--service-cluster-ip-range=" + serviceRange,
			"--service-account-issuer=" + serviceAccountIssuer,
			"--service-account-key-file=" + c.etc("service-account.key"),
			"--service-account-signing-key-file=" + c.etc("service-account.key"),
			"--kubelet-preferred-address-types=Hostname",
			"--audit-policy-file=" + c.etc("audit.yaml"),
			"--audit-log-path=" + filepath.Join(c.dir, logDir, "audit.log"),
			"--audit-log-maxsize=100", // MB, of this one and of each that it was before
			"--audit-log-maxbackup=2",
			// Without it an orderly end waits a minute for open watches.
			"--shutdown-watch-termination-grace-period=1s",
		},
		{"kube-controller-manager",
			"--kubeconfig=" + c.kubeconfig("system:kube-controller-manager"),
			"--use-service-account-credentials=true",
			"--service-account-private-key-file=" + c.etc("service-account.key"),
			"--root-ca-file=" + c.etc("ca.crt"),
			"--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins", // it makes the default one on the host
			"--leader-elect=false",
			"--secure-port=0",
			// The defaults (20, 30 and 5) make many Jobs wait for the controller.
			"--kube-api-qps=500",
			"--kube-api-burst=1000",
			"--concurrent-job-syncs=20",
		},
		{"kube-scheduler",
			"--kubeconfig=" + c.kubeconfig("system:kube-scheduler"),
			"--leader-elect=false",
			"--secure-port=0",
			"--kube-api-qps=500",
			"--kube-api-burst=1000",
		},
		{"kubelet",
			"--kubeconfig=" + c.kubeconfig("system:node:"+nodeName),
			"--config=" + c.etc("kubelet.yaml"),
			"--hostname-override=" + nodeName,
			"--v=2",
		},
		proxy,
		{"kube-router",
			"--kubeconfig=" + c.kubeconfig("system:kube-router"),
			"--tools=" + c.tools,
		},
	}
}

const kubeconfigText = `apiVersion: v1
kind: Config
current-context: test
contexts:
- name: test
  context: {cluster: test, user: test}
clusters:
- name: test
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: test
  user:
    token: %s
`

// containerdText: the oom_score_adj, hugetlb and apparmor settings are for
// machines on which root lacks the capability or the kernel the feature.
const containerdText = `version = 2

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  disable_apparmor = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%s/usr/lib/cni"
    conf_dir = %q
`

const cniText = `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": %q}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni"
      }
    }
  ]
}
`

// auditText: who did what to which object, and why they might or might not.
// The start of an answer that goes on, such as a watch, is told too. What the
// cluster's own parts do is left out, with the controllers among them.
const auditText = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users:
  - system:apiserver
  - system:kube-controller-manager
  - system:kube-proxy
  - system:kube-router
  - system:kube-scheduler
  - system:node:%s
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*"]
- level: Metadata
`

// kubeletText: nothing is evicted or collected by how full the machine is,
// which would make tests depend on their neighbours. The kubelet's own API is
// open, and reachable only from this network namespace's loopback.
const kubeletText = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
authentication:
  anonymous: {enabled: true}
  webhook: {enabled: false}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /%s
containerRuntimeEndpoint: ` + containerdAddress + `
enforceNodeAllocatable: []
evictionHard:
  imagefs.available: "0%%"
  imagefs.inodesFree: "0%%"
  memory.available: "0%%"
  nodefs.available: "0%%"
  nodefs.inodesFree: "0%%"
failCgroupV1: false
failSwapOn: false
hairpinMode: none
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
maxPods: 250
oomScoreAdj: 0
resolvConf: ""
serializeImagePulls: false
volumePluginDir: /var/lib/kubelet/volume-plugins
`
