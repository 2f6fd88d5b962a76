// Command node is a whole single-node Kubernetes cluster in one binary, for
// Longshore's tests. It is several programs, told apart by the name it is
// called by (see components) or, called as node, by its first argument.
// cluster.sh builds it and is the way to use it; README.md says how.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const usage = `usage: node up DIR TOOLS         start the cluster of state directory DIR and wait until it is ready
       node down DIR             kill it and remove what it left
       node ctl DIR COMMAND...   send a command to its supervisor
       node image busybox|longshore BINARY
                                 write an image archive to the standard output

TOOLS is a directory into which containerd, runc, the CNI plugins and busybox are unpacked.
`

var errUsage = errors.New("usage")

func main() {
	if run, ok := components[filepath.Base(os.Args[0])]; ok {
		os.Exit(run())
	}
	err := dispatch(os.Args[1:])
	if errors.Is(err, errUsage) {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func dispatch(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "up":
		return up(args[1], args[2])
	case len(args) == 2 && args[0] == "down":
		return down(args[1])
	case len(args) > 2 && args[0] == "ctl":
		return ctl(args[1], args[2:], os.Stdout)
	case len(args) == 3 && args[0] == "image":
		return writeImage(os.Stdout, args[1], args[2])
	case len(args) == 3 && args[0] == "init":
		return runInit(args[1], args[2])
	}
	return errUsage
}
