package main

// NetworkPolicy, enforced: the firewall part of kube-router. Its other parts
// are not here, nor what they depend on: the bridge and kube-proxy do their work.

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/metrics"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	dto "github.com/prometheus/client_model/go"
	"github.com/spf13/cobra"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// runFirewall writes the policies into the packet filter until it is stopped.
// What it has written stays when it ends.
func runFirewall() int {
	command := &cobra.Command{Use: "kube-router", SilenceUsage: true}
	flags := command.Flags()
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	tools := flags.String("tools", "", "where iptables and ipset are unpacked")
	command.RunE = func(*cobra.Command, []string) error {
		// Only here: the host's own programs shall find the host's libraries.
		for key, value := range filterEnvironment(*tools) {
			if err := os.Setenv(key, value); err != nil {
				return err
			}
		}
		ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer cancel()
		return enforcePolicies(ctx, *kubeconfig)
	}
	verbosity := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(verbosity)
	_ = verbosity.Set("v", "1") // tells each sync and how long it took
	if err := command.Execute(); err != nil {
		return 1
	}
	return 0
}

// filterEnvironment is what the unpacked iptables and ipset need to find their
// libraries and extensions.
func filterEnvironment(tools string) map[string]string {
	libraries := filepath.Join(tools, "libraries")
	return map[string]string{
		"LD_LIBRARY_PATH": libraries,
		"XTABLES_LIBDIR":  filepath.Join(libraries, "xtables"),
	}
}

func enforcePolicies(ctx context.Context, kubeconfig string) error {
	access, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return err
	}
	// It takes the node's address from this object, and which Pods are its own.
	err = waitFor(ctx, func(ctx context.Context) error {
		_, err := client.CoreV1().Nodes().Get(ctx, nodeName, meta.GetOptions{})
		return err
	})
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	config := options.NewKubeRouterConfig()
	config.EnableIPv4 = true
	config.ClusterIPCIDRs = []string{serviceRange}
	config.HostnameOverride = nodeName
	config.MetricsEnabled = true // they tell when it has done its work
	tables, sets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}
	var setsMutex sync.Mutex
	controller, err := netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &setsMutex, tables, sets)
	if err != nil {
		return err
	}
	// Each event makes it write all rules anew, a tenth of a second's work. While
	// there is no policy no Pod is any matter to it: the first policy will make
	// it look at all of them.
	ifPolicies := func(handler cache.ResourceEventHandler) cache.ResourceEventHandler {
		any := func(any) bool { return len(policies.GetStore().ListKeys()) > 0 }
		return cache.FilteringResourceEventHandler{FilterFunc: any, Handler: handler}
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods:       ifPolicies(controller.PodEventHandler),
		namespaces: ifPolicies(controller.NamespaceEventHandler),
		policies:   controller.NetworkPolicyEventHandler,
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	failed := make(chan error, 1)
	go func() { failed <- serveFirewallHealth() }()
	beats := make(chan *healthcheck.ControllerHeartbeat)
	go func() {
		for range beats { // it waits for somebody to take them
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	go controller.Run(beats, ctx.Done(), &running)
	select {
	case <-ctx.Done():
		running.Wait()
		return nil
	case err := <-failed:
		return err
	}
}

// serveFirewallHealth answers well once the rules have been written for the
// first time in this process's life.
func serveFirewallHealth() error {
	handler := http.NewServeMux()
	handler.HandleFunc("/healthz", func(out http.ResponseWriter, _ *http.Request) {
		var written dto.Metric
		err := metrics.ControllerIptablesV4RestoreTime.Write(&written)
		if err == nil && written.GetHistogram().GetSampleCount() == 0 {
			err = errors.New("no rules have been written yet")
		}
		if err != nil {
			http.Error(out, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(out, "ok")
	})
	server := http.Server{Addr: firewallAddress, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}
