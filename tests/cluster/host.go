package main

// The commands that run outside the namespaces: up, down and ctl.

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Names in the state directory. The lock is held by the node's first process
// for as long as it lives, so it tells a running cluster from a stale pid file.
const (
	lockFile       = "lock"
	pidFile        = "pid"
	socketFile     = "ctl.sock"
	kubeconfigFile = "kubeconfig"
	logDir         = "logs"
	etcDir         = "etc"
	binDir         = "bin"
)

// startTimeout bounds the whole start; it takes seconds on an idle machine.
const startTimeout = 5 * time.Minute

// up starts the cluster unless it runs already, and returns when it is ready.
func up(dir, tools string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	dir, tools, err := absolute(dir, tools)
	if err != nil {
		return err
	}
	lock, err := takeLock(dir)
	if err != nil {
		return err
	}
	if lock == nil {
		fmt.Println("a cluster is already running in", dir)
		return waitReady(dir)
	}
	// Closed on every way out: the started process has its own copy.
	defer lock.Close()

	if err := removeRemains(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, logDir)); err != nil {
		return err
	}
	for _, name := range []string{logDir, etcDir, binDir} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	if err := installBinary(dir); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, logDir, "init.log"))
	if err != nil {
		return err
	}
	defer log.Close()

	cmd := exec.Command(filepath.Join(dir, binDir, "node"), "init", dir, tools)
	cmd.Dir = dir
	// The callers' environment may hold proxies, credentials and PATHs that
	// have no place in a node.
	cmd.Env = []string{
		"PATH=" + strings.Join([]string{
			filepath.Join(tools, "usr/sbin"), filepath.Join(tools, "usr/bin"),
			"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
		}, ":"),
		"HOME=/run/home",
		"TMPDIR=/run/tmp",
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Setsid:     true, // a closed terminal shall not end the cluster
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the node (are you root?): %w", err)
	}
	pid := cmd.Process.Pid
	if err := writeFile(filepath.Join(dir, pidFile), fmt.Appendln(nil, pid), 0o644); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	lock.Close()
	fmt.Println("node is process", pid)
	return waitReady(dir)
}

// waitReady passes on the progress of the cluster's start until it is ready,
// or says why it will not be.
func waitReady(dir string) error {
	err := ctl(dir, []string{"wait"}, os.Stdout)
	if err == nil {
		return nil
	}
	logs := filepath.Join(dir, logDir)
	// init.log is short: it has the progress and what ended it.
	if text, readErr := os.ReadFile(filepath.Join(logs, "init.log")); readErr == nil {
		os.Stderr.Write(text)
	}
	return fmt.Errorf("%w (each component's log is in %s)", err, logs)
}

// down kills the node's first process, and with it everything in its
// namespaces, and removes what is left outside of them. The logs stay.
func down(dir string) error {
	dir, _, err := absolute(dir, "")
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		fmt.Println("no cluster is running in", dir)
		return nil
	}
	deadline := time.Now().Add(time.Minute)
	lock, err := takeLock(dir)
	if err != nil {
		return err
	}
	if lock == nil {
		pid, err := kill(dir, deadline)
		if err != nil {
			return err
		}
		for lock == nil {
			if lock, err = takeLock(dir); err != nil {
				return err
			}
			if lock == nil && time.Now().After(deadline) {
				return errors.New("the node is dead, but something holds its lock")
			}
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println("killed node process", pid)
	} else {
		fmt.Println("no cluster is running in", dir)
	}
	defer lock.Close()
	return removeRemains(dir)
}

// kill kills the node's first process and returns when it is gone. The kernel
// ends every other process of its PID namespace before it lets it go.
func kill(dir string, deadline time.Time) (int, error) {
	pid, fd, err := open(dir)
	// An up that has just begun holds the lock before it can write the pid.
	for ; err != nil; pid, fd, err = open(dir) {
		if time.Now().After(deadline) {
			return 0, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return pid, err
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1000)
		if n == 1 {
			return pid, nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return pid, err
		}
		if time.Now().After(deadline) {
			return pid, fmt.Errorf("node process %d does not die", pid)
		}
	}
}

// open returns the pid and a pidfd of the node's first process. It makes sure
// that this is what it says: after a crash of the machine the pid file may
// name a stranger.
func open(dir string) (pid, fd int, err error) {
	text, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil {
		return 0, 0, err
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return 0, 0, err
	}
	if fd, err = unix.PidfdOpen(pid, 0); err != nil {
		return 0, 0, fmt.Errorf("process %d: %w", pid, err)
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err == nil && !strings.Contains(string(cmdline), "\x00init\x00"+dir+"\x00") {
		err = fmt.Errorf("process %d is not the node of %s", pid, dir)
	}
	if err != nil {
		unix.Close(fd)
		return 0, 0, err
	}
	return pid, fd, nil
}

// ctl sends a command to the supervisor and copies its answer.
func ctl(dir string, command []string, out io.Writer) error {
	dir, _, err := absolute(dir, "")
	if err != nil {
		return err
	}
	// A socket's address has at most 107 bytes, which a path may exceed.
	if err := os.Chdir(dir); err != nil {
		return err
	}
	conn, err := dial(dir)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, strings.Join(command, " ")); err != nil {
		return err
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == answerOK:
			return nil
		case strings.HasPrefix(line, answerError):
			return errors.New(strings.TrimPrefix(line, answerError))
		default:
			fmt.Fprintln(out, line)
		}
	}
	return errors.Join(errors.New("the node died before it answered"), lines.Err())
}

// dial waits for the socket, which a node that has just started makes soon.
func dial(dir string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := net.Dial("unix", socketFile)
		if err == nil {
			return conn, nil
		}
		if running, lockErr := locked(dir); lockErr != nil || !running {
			return nil, errors.Join(lockErr, errors.New("no cluster is running in "+dir))
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// takeLock returns the locked file, or nil while a cluster holds the lock.
func takeLock(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	// Such a lock belongs to the open file, which a child process inherits.
	err = unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if err == nil {
		return file, nil
	}
	file.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, nil
	}
	return nil, err
}

// locked tells whether a cluster holds the lock, without taking it: that
// would look like a running cluster to others.
func locked(dir string) (bool, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer file.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	err = unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock)
	return lock.Type != unix.F_UNLCK, err
}

// installBinary puts this program into the state directory under all its
// names, so that a running cluster does not depend on the build cache.
func installBinary(dir string) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	bin := filepath.Join(dir, binDir)
	node, err := os.OpenFile(filepath.Join(bin, "node"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer node.Close()
	if _, err := io.Copy(node, self); err != nil {
		return err
	}
	for name := range components {
		if err := os.Symlink("node", filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	return node.Close()
}

// removeRemains removes what a cluster that no longer runs has left. The
// caller holds the lock. The lock file stays, since others may wait for it, and
// the logs stay until the next start, to be read.
func removeRemains(dir string) error {
	if err := removeCgroups(cgroupName(dir)); err != nil {
		return err
	}
	names := []string{pidFile, socketFile, kubeconfigFile, etcDir, binDir, "kube-cache"}
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// cgroupName is the cluster's own place in the host's cgroup hierarchies. Two
// kubelets in one place would take each other's Pods for orphans and kill them.
func cgroupName(dir string) string {
	return fmt.Sprintf("longshore-%.4x", sha256.Sum256([]byte(dir)))
}

// absolute resolves links too, so that one directory, which has to exist, has
// one cgroup name.
func absolute(dir, tools string) (string, string, error) {
	for _, path := range []*string{&dir, &tools} {
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return "", "", err
		}
		if real, err := filepath.EvalSymlinks(*path); err == nil {
			*path = real
		}
	}
	return dir, tools, nil
}

// writeFile replaces a file in one step: others read it at any time.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	if err := os.WriteFile(path+".new", data, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
