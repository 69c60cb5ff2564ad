// Command cluster is a Kubernetes control plane in one binary, for tests: cluster COMPONENT [FLAGS].
//
// The components are the real ones, dispatched to unchanged, each with its own flags. One binary shares the code that they have in common, so it
// is built in minutes and needs neither downloaded releases nor containers.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const usage = "usage: cluster etcd|apiserver|controller-manager|scheduler|kubelet [FLAGS]"

func main() {
	if len(os.Args) < 2 {
		exit(usage)
	}
	component := os.Args[1]
	// The components parse os.Args themselves and expect their flags right after the program's name.
	os.Args = append(os.Args[:1:1], os.Args[2:]...)
	if component == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	command := commandOf(component)
	if command == nil {
		exit(fmt.Sprintf("cluster: unknown component %q\n%s", component, usage))
	}
	os.Exit(cli.Run(command))
}

func commandOf(component string) *cobra.Command {
	switch component {
	case "apiserver":
		return apiserver.NewAPIServerCommand()
	case "controller-manager":
		return controllermanager.NewControllerManagerCommand()
	case "scheduler":
		return scheduler.NewSchedulerCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	}
	return nil
}

func exit(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}
