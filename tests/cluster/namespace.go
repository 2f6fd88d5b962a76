package main

// What the node's first process does before it starts anything: it turns the
// new, empty namespaces into a machine that Kubernetes accepts.

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// masked directories are empty tmpfs in the node: all components can use their
// usual paths below them, and nothing they write reaches the host.
var masked = []string{"/run", "/var/lib", "/var/log"}

// decoys are the settings of the whole kernel that a kubelet insists on. It
// finds these values in files of our own and leaves the host's alone.
var decoys = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// setUpMounts gives the node its own /proc and private, empty system
// directories. It keeps the directories in keep visible at their paths.
func setUpMounts(keep ...string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	kept := make([]int, len(keep))
	for i, dir := range keep {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", dir, err)
		}
		defer unix.Close(fd)
		kept[i] = fd
	}
	for _, dir := range masked {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("mount a tmpfs on %s: %w", dir, err)
		}
	}
	for i, dir := range keep {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", kept[i]), dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("keep %s: %w", dir, err)
		}
	}
	for _, dir := range []string{"/run/home", "/run/tmp", "/run/decoys"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, value := range decoys {
		file := filepath.Join("/run/decoys", strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(file, filepath.Join("/proc/sys", name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover sysctl %s: %w", name, err)
		}
	}
	return nil
}

// setUpNetwork makes the bridge for Pods and a default route, from which the
// kubelet takes the node's address. Nothing leads out of this namespace.
func setUpNetwork() error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join([]string{
		"link set lo up",
		"address add " + metadataAddress + "/32 dev lo",
		"link add cni0 type bridge",
		"address add " + nodeAddress + "/16 dev cni0",
		"link set cni0 up",
		"route add default dev cni0",
	}, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s", err, out)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return err
	}
	// Missing where the kernel's module br_netfilter is not loaded.
	if err := os.WriteFile(bridgeFilter, []byte("1"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return unix.Sethostname([]byte(nodeName))
}

const bridgeFilter = "/proc/sys/net/bridge/bridge-nf-call-iptables"

// bridgeIsFiltered tells whether packets between Pods on the bridge pass the
// packet filter, so that answers from behind a Service find their way back.
func bridgeIsFiltered() bool {
	_, err := os.Stat(bridgeFilter)
	return err == nil
}

// setUpCgroups makes the cluster's cgroup in every hierarchy there is.
func setUpCgroups(name string) error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		// Version 2 only: controllers reach a directory if its parent says so.
		// A kernel without one of them is the kubelet's to judge.
		for _, controller := range []string{"cpu", "cpuset", "memory", "pids", "hugetlb", "io"} {
			control := filepath.Join(root, "cgroup.subtree_control")
			if _, err := os.Stat(control); err == nil {
				_ = os.WriteFile(control, []byte("+"+controller), 0)
			}
		}
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// removeCgroups removes the cluster's empty cgroups: the only thing of it that
// is not in a namespace.
func removeCgroups(name string) error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(30 * time.Second)
	for _, root := range roots {
		var dirs []string
		err := filepath.WalkDir(filepath.Join(root, name), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			return err
		}
		slices.Reverse(dirs) // children before their parents
		for _, dir := range dirs {
			// A cgroup is busy until the kernel is through with its last process.
			err := unix.Rmdir(dir)
			for ; errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); err = unix.Rmdir(dir) {
				time.Sleep(10 * time.Millisecond)
			}
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("remove %s: %w", dir, err)
			}
		}
	}
	return nil
}

// cgroupRoots lists where cgroup hierarchies, of either version, are mounted.
func cgroupRoots() ([]string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var roots []string
	for line := range bytes.Lines(mounts) {
		// source, directory, type, options
		fields := strings.Fields(string(line))
		if len(fields) > 2 && (fields[2] == "cgroup" || fields[2] == "cgroup2") && !slices.Contains(roots, fields[1]) {
			roots = append(roots, fields[1])
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("no cgroup file system is mounted")
	}
	return roots, nil
}
