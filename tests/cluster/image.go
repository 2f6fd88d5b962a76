package main

// Images made from nothing but a static binary, as archives in the format of
// "docker save": no registry and no builder has a part in them.

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strings"
)

// image is what its configuration says of how to run it.
type image struct {
	name       string
	user       string
	entrypoint []string
	command    []string
}

// writeImage writes an archive of all images of a kind: one layer, and for each
// image a configuration of its own.
func writeImage(out io.Writer, kind, binary string) error {
	if err := checkStatic(binary); err != nil {
		return err
	}
	var layer bytes.Buffer
	var images []image
	var err error
	switch kind {
	case "busybox":
		err = busyboxLayer(&layer, binary)
		images = []image{
			{name: busyboxImage, command: []string{"/bin/sh"}},
			// The longest sleep that there is: a sandbox is ended by a signal.
			{name: pauseImage, user: "65534:65534", entrypoint: []string{"/bin/sleep", "2147483647"}},
		}
	case "longshore":
		const program = "/usr/local/bin/longshore"
		err = writeLayer(&layer, binary, program, nil)
		images = []image{{name: longshoreImage, user: "65532:65532", entrypoint: []string{program}}}
	default:
		return errUsage
	}
	if err != nil {
		return err
	}
	return writeArchive(out, layer.Bytes(), images)
}

// checkStatic refuses a binary that would look in vain for its libraries.
func checkStatic(binary string) error {
	file, err := elf.Open(binary)
	if err != nil {
		return fmt.Errorf("%s: %w", binary, err)
	}
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not statically linked", binary)
		}
	}
	return nil
}

// busyboxLayer has busybox under the names of all its applets.
func busyboxLayer(out io.Writer, binary string) error {
	list, err := exec.Command(binary, "--list").Output()
	if err != nil {
		return fmt.Errorf("%s --list: %w", binary, err)
	}
	links := map[string]string{}
	for name := range strings.FieldsSeq(string(list)) {
		if name != "busybox" {
			links["/bin/"+name] = "busybox"
		}
	}
	return writeLayer(out, binary, "/bin/busybox", links)
}

// users of every image, so that programs that ask for their own name get one.
const passwd = `root:x:0:0:root:/root:/bin/sh
user:x:1000:1000:user:/home/user:/bin/sh
nonroot:x:65532:65532:nonroot:/home/nonroot:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
`

const group = `root:x:0:
user:x:1000:
nonroot:x:65532:
nobody:x:65534:
`

// writeLayer writes a file system with one program, symbolic links, and what
// a read-only root file system needs to be mounted on.
func writeLayer(out io.Writer, binary, program string, links map[string]string) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	archive := newArchive(out)
	for _, dir := range []string{"/bin", "/dev", "/etc", "/home", "/proc", "/root", "/sys", "/usr", "/usr/local", "/usr/local/bin"} {
		archive.add(tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}, nil)
	}
	archive.add(tar.Header{Typeflag: tar.TypeDir, Name: "/tmp", Mode: 0o1777}, nil)
	archive.add(tar.Header{Typeflag: tar.TypeDir, Name: "/home/user", Mode: 0o755, Uid: 1000, Gid: 1000}, nil)
	archive.add(tar.Header{Typeflag: tar.TypeDir, Name: "/home/nonroot", Mode: 0o755, Uid: 65532, Gid: 65532}, nil)
	archive.add(tar.Header{Typeflag: tar.TypeReg, Name: "/etc/passwd", Mode: 0o644}, []byte(passwd))
	archive.add(tar.Header{Typeflag: tar.TypeReg, Name: "/etc/group", Mode: 0o644}, []byte(group))
	archive.add(tar.Header{Typeflag: tar.TypeReg, Name: program, Mode: 0o755}, content)
	for _, name := range slices.Sorted(maps.Keys(links)) {
		archive.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: links[name], Mode: 0o777}, nil)
	}
	return archive.close()
}

func writeArchive(out io.Writer, layer []byte, images []image) error {
	layerDigest := fmt.Sprintf("%x", sha256.Sum256(layer))
	archive := newArchive(out)
	archive.add(tar.Header{Typeflag: tar.TypeReg, Name: layerDigest + ".tar", Mode: 0o644}, layer)

	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var manifest []entry
	for _, image := range images {
		config, err := json.Marshal(map[string]any{
			"architecture": runtime.GOARCH,
			"os":           "linux",
			"config": map[string]any{
				"User":       image.user,
				"Entrypoint": image.entrypoint,
				"Cmd":        image.command,
				"Env":        []string{"PATH=/usr/local/bin:/bin"},
				"WorkingDir": "/",
			},
			"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layerDigest}},
		})
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%x.json", sha256.Sum256(config))
		archive.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, config)
		manifest = append(manifest, entry{name, []string{image.name}, []string{layerDigest + ".tar"}})
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	archive.add(tar.Header{Typeflag: tar.TypeReg, Name: "manifest.json", Mode: 0o644}, text)
	return archive.close()
}

// archive is a tar file that remembers its first error. It has no times, so
// that the same binary makes the same image.
type archive struct {
	tar *tar.Writer
	err error
}

func newArchive(out io.Writer) *archive { return &archive{tar: tar.NewWriter(out)} }

func (a *archive) add(header tar.Header, content []byte) {
	if a.err != nil {
		return
	}
	header.Name = strings.TrimPrefix(path.Clean(header.Name), "/")
	if header.Typeflag == tar.TypeDir {
		header.Name += "/"
	}
	header.Size = int64(len(content))
	if a.err = a.tar.WriteHeader(&header); a.err == nil {
		_, a.err = a.tar.Write(content)
	}
}

func (a *archive) close() error {
	if a.err != nil {
		return a.err
	}
	return a.tar.Close()
}
