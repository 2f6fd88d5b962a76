package main

// The supervisor: processes, and the socket by which tests stop, kill, pause
// and start them. It restarts nothing by itself: what a test killed stays dead
// until the test says otherwise.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The last line of every answer on the socket.
const (
	answerOK    = "ok"
	answerError = "error: "
)

const (
	readyTimeout = time.Minute
	// stopTimeout is how long a component may take to end after SIGTERM. The
	// API server alone would wait a minute for requests that never end.
	stopTimeout = 15 * time.Second
)

type node struct {
	config
	progress *progress
	api      *apiClient
	names    []string       // of the components, in the order of their start
	clients  sync.WaitGroup // connections of the socket

	mutex      sync.Mutex // guards components and the fields of each that say so
	components map[string]*component
}

// component is one supervised program.
type component struct {
	name  string
	args  []string
	ready func(context.Context) error

	command sync.Mutex // one command at a time

	// Guarded by node.mutex.
	pid    int           // 0 unless it runs
	ended  chan struct{} // closed when that process has been reaped
	paused bool
	last   string // how the last process ended
}

// start starts the component and waits until it is ready.
func (c *component) start(ctx context.Context, n *node) error {
	path, err := n.path(c.name)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(n.dir, logDir, c.name+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()

	n.mutex.Lock()
	if c.pid != 0 {
		n.mutex.Unlock()
		return fmt.Errorf("%s runs already as process %d", c.name, c.pid)
	}
	// Started under the lock, so that it can't be reaped before it is known.
	pid, err := syscall.ForkExec(path, c.args, &syscall.ProcAttr{
		Dir:   "/",
		Env:   os.Environ(),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		n.mutex.Unlock()
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	ended := make(chan struct{})
	c.pid, c.ended, c.paused = pid, ended, false
	n.mutex.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- waitFor(ctx, c.ready) }()
	select {
	case err := <-ready:
		if err != nil {
			return fmt.Errorf("%s does not become ready: %w", c.name, err)
		}
		return nil
	case <-ended:
		n.mutex.Lock()
		defer n.mutex.Unlock()
		return fmt.Errorf("%s ended instead of becoming ready: %s", c.name, c.last)
	}
}

// signal sends a signal to the component's process and returns a channel that
// is closed when that process has ended.
func (c *component) signal(n *node, signal syscall.Signal) (<-chan struct{}, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if c.pid == 0 {
		return nil, fmt.Errorf("%s is not running", c.name)
	}
	// It is not reaped while we hold the lock, so the pid can't be another's.
	if err := unix.Kill(c.pid, signal); err != nil {
		return nil, err
	}
	switch signal {
	case unix.SIGSTOP:
		c.paused = true
	case unix.SIGCONT:
		c.paused = false
	}
	return c.ended, nil
}

// stop ends the component as an orderly shutdown of the machine would.
func (c *component) stop(n *node) error {
	ended, err := c.signal(n, unix.SIGTERM)
	if err != nil {
		return err
	}
	// A paused process gets the signal only once it goes on.
	if _, err := c.signal(n, unix.SIGCONT); err != nil {
		return nil // ended already
	}
	select {
	case <-ended:
	case <-time.After(stopTimeout):
		_, _ = c.signal(n, unix.SIGKILL) // fails only if it has just ended
		<-ended
	}
	return nil
}

// kill sends a signal, and waits for the end where that is certain to come.
func (c *component) kill(n *node, signal syscall.Signal) error {
	ended, err := c.signal(n, signal)
	if err == nil && signal == unix.SIGKILL {
		<-ended
	}
	return err
}

// reap collects ended processes: the components and, this being the first
// process of its PID namespace, all orphans, such as containerd's shims.
func (n *node) reap() {
	child := make(chan os.Signal, 1)
	signal.Notify(child, unix.SIGCHLD)
	for ; ; <-child {
		for n.reapOne() {
		}
	}
}

func (n *node) reapOne() bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	var status unix.WaitStatus
	pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
	if errors.Is(err, unix.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	for _, c := range n.components {
		if c.pid == pid {
			c.pid, c.paused = 0, false
			c.last = fmt.Sprintf("exit status %d", status.ExitStatus())
			if status.Signaled() {
				c.last = fmt.Sprintf("killed by %s", unix.SignalName(status.Signal()))
			}
			close(c.ended)
		}
	}
	return true
}

// serve answers the commands that come through the socket.
func (n *node) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			fmt.Println("socket:", err)
			return
		}
		n.clients.Go(func() {
			defer conn.Close()
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil {
				return
			}
			if err := n.obey(conn, strings.Fields(line)); err != nil {
				fmt.Fprintln(conn, answerError+strings.ReplaceAll(err.Error(), "\n", "; "))
				return
			}
			fmt.Fprintln(conn, answerOK)
		})
	}
}

// drain waits, for a bounded time, until the present clients have their answer.
func (n *node) drain() {
	done := make(chan struct{})
	go func() { n.clients.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
	}
}

const commands = "status | wait | images [NAME...] | token NAMESPACE NAME AUDIENCE SECONDS | start NAME | stop NAME | restart NAME | kill [-SIGNAL] NAME | pause NAME | resume NAME"

// obey carries out one command.
func (n *node) obey(conn net.Conn, args []string) error {
	if len(args) == 0 {
		return errors.New("commands: " + commands)
	}
	if args[0] == "wait" {
		if err := n.progress.follow(conn); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
		defer cancel()
		return waitFor(ctx, n.nodeReady)
	}
	// What follows needs the components; the socket is there before them.
	n.mutex.Lock()
	known := n.components != nil
	n.mutex.Unlock()
	if !known {
		return errors.New("the node is still starting")
	}
	switch args[0] {
	case "status":
		_, err := io.WriteString(conn, n.status())
		return err
	case "images":
		return n.images(conn, args[1:])
	case "token":
		return n.token(conn, args[1:])
	}

	signal := unix.SIGKILL
	if args[0] == "kill" && len(args) == 3 {
		number, err := strconv.Atoi(strings.TrimPrefix(args[1], "-"))
		if err != nil {
			return fmt.Errorf("signal %s is not a number", args[1])
		}
		signal = syscall.Signal(number)
		args = []string{args[0], args[2]}
	}
	if len(args) != 2 {
		return errors.New("commands: " + commands)
	}
	c := n.components[args[1]]
	if c == nil {
		return fmt.Errorf("no component %s: there are %s", args[1], strings.Join(n.names, ", "))
	}
	c.command.Lock()
	defer c.command.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()

	var err error
	switch args[0] {
	case "start":
		err = c.start(ctx, n)
	case "stop":
		err = c.stop(n)
	case "restart":
		// One that is not running is just started.
		_ = c.stop(n)
		err = c.start(ctx, n)
	case "kill":
		err = c.kill(n, signal)
	case "pause":
		err = c.kill(n, unix.SIGSTOP)
	case "resume":
		err = c.kill(n, unix.SIGCONT)
	default:
		err = errors.New("commands: " + commands)
	}
	return err
}

// status has a line for each component: name, state, pid or how it ended.
func (n *node) status() string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	var text strings.Builder
	for _, name := range n.names {
		switch c := n.components[name]; {
		case c.paused:
			fmt.Fprintf(&text, "%-24s paused   %d\n", name, c.pid)
		case c.pid != 0:
			fmt.Fprintf(&text, "%-24s running  %d\n", name, c.pid)
		default:
			fmt.Fprintf(&text, "%-24s stopped  %s\n", name, c.last)
		}
	}
	return text.String()
}

// images waits until the kubelet can use all images given, then lists all.
func (n *node) images(conn net.Conn, wanted []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	var present []string
	err := waitFor(ctx, func(ctx context.Context) error {
		var err error
		if present, err = runtimeImages(ctx); err != nil {
			return err
		}
		for _, name := range wanted {
			if !slices.Contains(present, name) {
				return fmt.Errorf("image %s is not known to the runtime", name)
			}
		}
		return nil
	})
	slices.Sort(present)
	for _, name := range present {
		fmt.Fprintln(conn, name)
	}
	return err
}

// progress is what is told of the start, to those who listen from its
// beginning and to those who come later.
type progress struct {
	mutex sync.Mutex
	more  *sync.Cond
	lines []string
	over  bool
	err   error
}

func newProgress() *progress {
	p := &progress{}
	p.more = sync.NewCond(&p.mutex)
	return p
}

func (p *progress) say(format string, args ...any) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	line := fmt.Sprintf(format, args...)
	fmt.Println(line)
	p.lines = append(p.lines, line)
	p.more.Broadcast()
}

func (p *progress) end(err error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.over, p.err = true, err
	p.more.Broadcast()
}

// follow writes all lines until the start is over, and returns how it went.
// Once it went well there is nothing more to tell.
func (p *progress) follow(conn net.Conn) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.over {
		return p.err
	}
	for told := 0; ; {
		news, over := p.lines[told:], p.over
		p.mutex.Unlock() // a slow reader must not hold up the start
		for _, line := range news {
			fmt.Fprintln(conn, line)
		}
		p.mutex.Lock()
		told += len(news)
		if over {
			return p.err
		}
		if told == len(p.lines) && !p.over {
			p.more.Wait()
		}
	}
}
