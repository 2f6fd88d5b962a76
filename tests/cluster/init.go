package main

// The node's first process: it sets up the namespaces, starts the components
// and then obeys the commands that come through the socket.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func runInit(dir, tools string) error {
	if os.Getpid() != 1 {
		return errors.New("init is started by up, in namespaces of its own")
	}
	// The lock is this process's alone.
	syscall.CloseOnExec(3)
	// Its complaints about sockets that are not there yet are no news.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	began := time.Now()
	node := &node{config: config{dir: dir, tools: tools}, progress: newProgress()}

	// First of all, so that up can follow what happens.
	_ = os.Remove(socketFile)
	listener, err := net.Listen("unix", socketFile)
	if err != nil {
		return err
	}
	go node.serve(listener)

	err = node.start(began)
	if err == nil {
		node.progress.say("ready after %.1f s", time.Since(began).Seconds())
	} else {
		fmt.Println("error:", err)
	}
	node.progress.end(err)
	if err != nil {
		node.drain()
		return errors.New("the node could not be started")
	}
	select {}
}

// start brings up everything and returns when Pods can be run.
func (n *node) start(began time.Time) error {
	if err := setUpCgroups(cgroupName(n.dir)); err != nil {
		return err
	}
	if err := setUpMounts(n.dir, n.tools); err != nil {
		return err
	}
	// The working directory is still the one under the new mounts.
	if err := os.Chdir(n.dir); err != nil {
		return err
	}
	if err := setUpNetwork(); err != nil {
		return err
	}
	creds, err := n.write()
	if err != nil {
		return err
	}
	if n.api, err = newAPIClient(creds); err != nil {
		return err
	}
	components := map[string]*component{}
	for _, args := range n.arguments() {
		components[args[0]] = &component{name: args[0], args: args, ready: n.readiness(args[0])}
		n.names = append(n.names, args[0])
	}
	n.mutex.Lock()
	n.components = components
	n.mutex.Unlock()
	go n.reap()

	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for _, group := range [][]string{
		{"containerd", "etcd"},
		{"kube-apiserver"},
	} {
		if err := n.startGroup(ctx, began, group); err != nil {
			return err
		}
	}
	firewall := make(chan error, 1)
	go func() { firewall <- n.startGroup(ctx, began, []string{"kube-router"}) }()
	group := []string{"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"}
	if err := n.startGroup(ctx, began, group); err != nil {
		return err
	}
	if err := waitFor(ctx, n.nodeReady); err != nil {
		return fmt.Errorf("node %s: %w", nodeName, err)
	}
	if err := n.offerStorage(ctx); err != nil {
		return err
	}
	// A kernel that lacks what this needs runs everything else.
	if err := <-firewall; err != nil {
		n.progress.say("NetworkPolicy is NOT enforced: %v", err)
	} else if !bridgeIsFiltered() {
		n.progress.say("NetworkPolicy is NOT enforced between Pods: the kernel's module br_netfilter is not loaded")
	}
	n.progress.say("%5.1f s  node and default service account", time.Since(began).Seconds())
	return nil
}

// startGroup starts components that do not depend on one another.
func (n *node) startGroup(ctx context.Context, began time.Time, names []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error)
	for _, name := range names {
		go func() {
			err := n.components[name].start(ctx, n)
			if err == nil {
				n.progress.say("%5.1f s  %s", time.Since(began).Seconds(), name)
			}
			results <- err
		}()
	}
	var errs error
	for range names {
		if err := <-results; err != nil && errs == nil {
			errs = err
			cancel() // the first failure is the one to tell
		}
	}
	return errs
}

// readiness returns the check that tells when a component does its work.
// The two without a port have none: what they do shows in the API.
func (n *node) readiness(name string) func(context.Context) error {
	get := func(url string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := n.api.get(ctx, url)
			return err
		}
	}
	switch name {
	case "containerd":
		return func(ctx context.Context) error {
			_, err := runtimeImages(ctx)
			return err
		}
	case "etcd":
		return get("http://" + etcdAddress + "/health")
	case "kube-apiserver":
		return get(apiServerURL + "/readyz")
	case "kubelet":
		return get("http://127.0.0.1:10248/healthz")
	case "kube-router":
		return get("http://" + firewallAddress + "/healthz")
	case "kube-proxy":
		return func(ctx context.Context) error {
			// healthz would also want the node registered.
			if _, err := n.api.get(ctx, "http://127.0.0.1:10256/livez"); err != nil {
				return err
			}
			// The proof that it has written its rules. Before, this is an
			// address in vain, at which the kernel gives up only after seconds.
			ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			_, err := n.api.get(ctx, "https://"+serviceAddress+":443/readyz")
			return err
		}
	}
	return func(context.Context) error { return nil }
}

// offerStorage makes the node offer ephemeral storage. The kubelet can't
// measure it here (localStorageCapacityIsolation is off), and without it every
// Pod that requests some stays unschedulable. What the kubelet does not measure
// it leaves as it finds it.
func (n *node) offerStorage(ctx context.Context) error {
	const patch = `{"status":{"capacity":{"ephemeral-storage":"100Gi"},"allocatable":{"ephemeral-storage":"100Gi"}}}`
	return n.api.mergePatch(ctx, apiServerURL+"/api/v1/nodes/"+nodeName+"/status", patch)
}

// nodeReady tells whether Pods can be run in the namespace default.
func (n *node) nodeReady(ctx context.Context) error {
	var object struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	body, err := n.api.get(ctx, apiServerURL+"/api/v1/nodes/"+nodeName)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, &object); err != nil {
		return err
	}
	err = errors.New("no condition Ready yet")
	for _, condition := range object.Status.Conditions {
		if condition.Type == "Ready" {
			err = nil
			if condition.Status != "True" {
				err = fmt.Errorf("not ready: %s", condition.Message)
			}
		}
	}
	if err != nil {
		return err
	}
	_, err = n.api.get(ctx, apiServerURL+"/api/v1/namespaces/default/serviceaccounts/default")
	return err
}

// runtimeImages lists the images by all their names as the kubelet sees them,
// which is a moment later than containerd itself.
func runtimeImages(ctx context.Context) ([]string, error) {
	conn, err := grpc.NewClient(containerdAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	list, err := cri.NewImageServiceClient(conn).ListImages(ctx, &cri.ListImagesRequest{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, image := range list.Images {
		names = append(names, image.RepoTags...)
	}
	return names, nil
}

// waitFor repeats a check until it succeeds or the context ends.
func waitFor(ctx context.Context, check func(context.Context) error) error {
	for {
		// A component that is paused accepts connections and says nothing.
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := check(once)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// apiClient reads from the components' HTTP servers as the administrator.
type apiClient struct {
	http  http.Client
	token string
}

func newAPIClient(creds credentials) (*apiClient, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(creds.ca) {
		return nil, errors.New("the authority's certificate is not readable")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	return &apiClient{http: http.Client{Transport: transport}, token: creds.adminToken}, nil
}

func (c *apiClient) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return c.do(request)
}

// mergePatch sends a JSON merge patch.
func (c *apiClient) mergePatch(ctx context.Context, url, patch string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, url, strings.NewReader(patch))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/merge-patch+json")
	_, err = c.do(request)
	return err
}

func (c *apiClient) do(request *http.Request) ([]byte, error) {
	url := request.URL.String()
	if strings.HasPrefix(url, apiServerURL) {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, strings.TrimSpace(string(body)))
	}
	return body, err
}

// path of a component's program.
func (n *node) path(name string) (string, error) {
	for _, dir := range []string{filepath.Join(n.dir, binDir), filepath.Join(n.tools, "usr/bin")} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %s", name)
}
