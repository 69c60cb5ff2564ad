// Command cluster is a Kubernetes control plane in one binary, for tests: cluster [--while-stdin] COMPONENT [FLAGS].
//
// The components are the real ones, dispatched to unchanged, each with its own flags. One binary shares the code that they have in common, so it
// is built in minutes and needs neither downloaded releases nor containers. With --while-stdin a component ends with its standard input: it
// cannot outlive the test that holds the other end, even one that was killed.
package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// The components of the control plane besides etcd; node.go adds those of a node.
var commands = map[string]func() *cobra.Command{
	"apiserver":          apiserver.NewAPIServerCommand,
	"controller-manager": controllermanager.NewControllerManagerCommand,
	"scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
}

func main() {
	arguments := os.Args[1:]
	if len(arguments) > 0 && arguments[0] == "--while-stdin" {
		go endWithStdin()
		arguments = arguments[1:]
	}
	if len(arguments) == 0 {
		exit(usage())
	}
	component := arguments[0]
	// The components parse os.Args themselves and expect their flags right after the program's name.
	os.Args = append(os.Args[:1:1], arguments[1:]...)
	if component == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	newCommand, known := commands[component]
	if !known {
		exit(fmt.Sprintf("cluster: unknown component %q\n%s", component, usage()))
	}
	os.Exit(cli.Run(newCommand()))
}

func usage() string {
	return "usage: cluster [--while-stdin] etcd|" + strings.Join(slices.Sorted(maps.Keys(commands)), "|") + " [FLAGS]"
}

func endWithStdin() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

func exit(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}
