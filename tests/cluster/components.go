package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	// What the components' own main packages import for their side effects:
	// the JSON log format and the metrics of client-go and of the version.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// components are the programs this binary can be, chosen by the name it is
// called by. Each needs a process of its own: two of these commands in one
// process configure logging twice, which panics, and tests want to kill one.
var components = map[string]func() int{
	"etcd":                    runEtcd,
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(controllermanager.NewControllerManagerCommand()) },
	"kube-scheduler":          func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kube-proxy":              func() int { return cli.Run(proxy.NewProxyCommand()) },
	"kube-router":             runFirewall,
	"kubelet":                 runKubelet,
	"kubectl":                 runKubectl,
}

func runKubelet() int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	return cli.Run(kubelet.NewKubeletCommand(ctx))
}

func runKubectl() int {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints it in kubectl's way and exits
	}
	return 0
}

// runEtcd serves one member on loopback. Its data is in a tmpfs that lives and
// dies with the node, so nothing is gained by waiting for a disk.
func runEtcd() int {
	command := &cobra.Command{Use: "etcd"}
	dir := command.Flags().String("data-dir", "", "where to keep the data")
	command.RunE = func(*cobra.Command, []string) error {
		config := embed.NewConfig()
		config.Dir = *dir
		config.LogLevel = "warn"
		config.UnsafeNoFsync = true
		config.QuotaBackendBytes = 4 << 30
		config.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration

		client := url.URL{Scheme: "http", Host: etcdAddress}
		peer := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
		config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
		config.InitialCluster = config.InitialClusterFromName(config.Name)

		server, err := embed.StartEtcd(config)
		if err != nil {
			return err
		}
		defer server.Close()

		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
		select {
		case <-stop:
			return nil
		case err := <-server.Err():
			return err
		case <-server.Server.StopNotify():
			return errors.New("etcd stopped by itself")
		}
	}
	if err := command.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
