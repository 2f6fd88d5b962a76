//! One file per way in which a program can't be executed, with real files and a sandbox on paper.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Links resolved: the temporary directory may be one.
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    }

    fn script(&self, name: &str, text: &str) -> String {
        self.write(name, text, 0o755)
    }

    fn link(&self, target: &str, name: &str) {
        std::fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        symlink(self.at(target), self.at(name)).unwrap();
    }

    /// The system, and these of the files.
    fn sandbox(&self, mounts: &[&str]) -> Sight {
        let mut options = vec!["bwrap".to_owned()];
        for system in ["/usr", "/bin", "/lib", "/lib64"] {
            options.extend(["--ro-bind-try", system, system].map(str::to_owned));
        }
        for mount in mounts {
            let path = self.at(mount).display().to_string();
            options.extend(["--ro-bind".to_owned(), path.clone(), path]);
        }
        Sight::of_sandbox(&options, None)
    }
}

fn look<'a>(sight: &'a Sight, path: &'a str) -> Look<'a> {
    Look { sight, path, profile: "report" }
}

fn plain() -> Sight {
    Sight::of_machine(PathBuf::from("/"))
}

const PATH: &str = "/usr/bin:/bin";

#[track_caller]
fn fault(sight: &Sight, program: &str) -> Fault {
    match look(sight, PATH).program(program) {
        Err(fault) => fault,
        Ok(path) => panic!("`{program}` is {}", path.display()),
    }
}

#[test]
fn what_can_be_executed() {
    let files = Files::new();
    let script = files.script("ok.sh", "#!/bin/sh\n");
    let by_env = files.script("ok.py", "#!/usr/bin/env -S A=b sh -e\n");
    let by_script = files.script("nested", &format!("#!{script}\n"));
    for sight in [plain(), files.sandbox(&["ok.sh", "ok.py", "nested"])] {
        for program in ["sh", "/bin/sh", &script, &by_env, &by_script] {
            look(&sight, PATH).program(program).unwrap_or_else(|fault| panic!("{program}: {fault:?}"));
        }
    }
    // Those before it in PATH cannot be executed.
    files.script("a/ok.sh", "#!/no/such/interpreter\n");
    files.write("b/ok.sh", "#!/bin/sh\n", 0o644);
    let path = ["a", "b", ""].map(|dir| files.at(dir).display().to_string()).join(":");
    assert_eq!(look(&plain(), &format!("/no/such:{path}")).program("ok.sh").unwrap(), files.at("ok.sh"));
}

#[test]
fn what_is_wrong_with_a_file_and_the_way_out() {
    let files = Files::new();
    let no_bit = files.write("no_bit.sh", "#!/bin/sh\n", 0o644);
    let no_line = files.script("no_line", "echo hello\n");
    let crlf = files.script("crlf", "#!/bin/sh\r\necho\r\n");
    let bom = files.script("bom", "\u{feff}#!/bin/sh\n");
    let no_interpreter = files.script("no_interpreter", "#!/no/such/python\n");
    let no_env = files.script("no_env", "#!/usr/bin/env no-such-python\n");
    let env_words = files.script("env_words", "#!/usr/bin/env sh -e\n");
    let nested = files.script("nested", &format!("#!{no_interpreter}\n"));
    let dir = files.at("").display().to_string();
    files.link("gone", "dangling");
    let dangling = files.at("dangling").display().to_string();
    for (program, what, fix, certain) in [
        ("no-such-program", "is not found: no such file in any directory of PATH (/usr/bin:/bin)", "install it", false),
        (
            "/no/such/program",
            "is not found: there is no such file: `/no/such/program`",
            "`profiles.report.local.command`",
            false,
        ),
        (&*no_bit, "has no execute permission", "chmod +x ", false),
        (&*no_line, "is a text file without a `#!` line", "begin ", true),
        (&*crlf, "ends in CR LF, so `/bin/sh\\r` is looked for", "sed -i", true),
        (&*bom, "byte order mark", "as UTF-8 without", true),
        (&*no_interpreter, "the interpreter `/no/such/python` of the program `", "install it", false),
        (&*no_env, "`no-such-python`, which is to execute the program `", "install it", false),
        (&*env_words, "asks `env` for one program of the name `sh -e`", "`#!/usr/bin/env -S sh -e`", false),
        (&*nested, "the interpreter `/no/such/python` of the interpreter `", "install it", false),
        (&*dir, "is a directory", "name a file", false),
        (&*dangling, "gone`, and there is no such file", "install it", false),
    ] {
        let fault = fault(&plain(), program);
        assert!(fault.what.contains(what), "{program}: {fault:?}");
        assert!(fault.fix.contains(fix), "{program}: {fault:?}");
        assert_eq!(fault.certain, certain, "{program}: {fault:?}");
    }
}

#[test]
fn what_the_sandbox_does_not_see_is_reported_with_what_to_mount() {
    let files = Files::new();
    let python = files.script("opt/python/bin/python3", "#!/bin/sh\n");
    std::fs::create_dir(files.at("opt/python/lib")).unwrap();
    let script = files.script("tools/run.py", &format!("#!{python}\n"));
    let fault = fault(&files.sandbox(&["tools/run.py"]), &script);
    assert!(fault.what.contains("the sandbox does not see `"), "{fault:?}");
    let mount = files.at("opt/python").display().to_string();
    assert_eq!(fault.fix, format!("add to [profiles.report.local]: mounts = [\"{mount}\"]"));
    assert!(look(&files.sandbox(&["tools/run.py", "opt/python"]), PATH).program(&script).is_ok());
    assert!(look(&plain(), PATH).program(&script).is_ok());

    let dir = files.at("tools").display().to_string();
    let sight = files.sandbox(&[]);
    let by_name = look(&sight, &dir).program("run.py").unwrap_err();
    assert!(by_name.what.contains("the sandbox does not see `"), "{by_name:?}");
    assert!(by_name.fix.contains("tools\"") && by_name.fix.contains("opt/python\""), "{by_name:?}");
}

#[test]
fn a_virtual_environment_needs_all_of_it_and_its_python() {
    let files = Files::new();
    files.script("home/uv/cpython/bin/python3.12", "#!/bin/sh\n");
    std::fs::create_dir(files.at("home/uv/cpython/lib")).unwrap();
    let cfg = format!("home = {}\nversion = 3.12\n", files.at("home/uv/cpython/bin").display());
    files.write("home/venv/pyvenv.cfg", &cfg, 0o644);
    files.link("home/uv/cpython/bin/python3.12", "home/venv/bin/python");
    let python = files.at("home/venv/bin/python").display().to_string();
    let tool = files.script("home/venv/bin/tool", &format!("#!{python}\n"));
    let mount = |name: &str| format!("{:?}", files.at(name).display().to_string());
    for program in [&python, &tool] {
        // As they are bound by themselves.
        let fault = fault(&files.sandbox(&["home/venv/bin/python", "home/venv/bin/tool"]), program);
        assert!(fault.what.contains("is part of the virtual environment"), "{fault:?}");
        let mounts = format!("mounts = [{}, {}]", mount("home/venv"), mount("home/uv/cpython"));
        assert!(fault.certain && fault.fix.ends_with(&mounts), "{fault:?}");
    }
    let half = fault(&files.sandbox(&["home/venv"]), &tool);
    assert!(half.fix.ends_with(&format!("mounts = [{}]", mount("home/uv/cpython"))), "{half:?}");
    assert!(look(&files.sandbox(&["home/venv", "home/uv/cpython"]), PATH).program(&tool).is_ok());
    assert!(look(&plain(), PATH).program(&tool).is_ok());

    std::fs::remove_dir_all(files.at("home/uv")).unwrap();
    let gone = fault(&plain(), &tool);
    assert!(gone.what.contains("its Python is gone") && gone.fix.contains("python3 -m venv"), "{gone:?}");
}

#[test]
fn a_python_needs_its_library() {
    let files = Files::new();
    let python = files.script("conda/bin/python3.99", "#!/bin/sh\n");
    files.write("conda/lib/python3.99/os.py", "", 0o644);
    let alone = fault(&files.sandbox(&["conda/bin/python3.99"]), &python);
    assert!(alone.certain && alone.what.contains("whose library the sandbox does not see"), "{alone:?}");
    let mount = files.at("conda").display().to_string();
    assert_eq!(alone.fix, format!("add to [profiles.report.local]: mounts = [\"{mount}\"]"));
    assert!(look(&files.sandbox(&["conda"]), PATH).program(&python).is_ok());
    assert!(look(&plain(), PATH).program(&python).is_ok());
    let tool = files.script("conda/bin/tool", "#!/bin/sh\n");
    assert!(look(&files.sandbox(&["conda/bin/tool"]), PATH).program(&tool).is_ok());
}

#[test]
fn a_script_may_need_what_is_beside_it() {
    let files = Files::new();
    let script = files.script("app/run.py", "#!/bin/sh\n");
    let missed = |mounts: &[&str]| look(&files.sandbox(mounts), PATH).neighbours(&script);
    files.write("app/notes.txt", "", 0o644);
    assert_eq!(missed(&["app/run.py"]), None);
    files.write("app/helper.py", "", 0o644);
    let fault = missed(&["app/run.py"]).unwrap();
    let dir = files.at("app").display().to_string();
    assert!(fault.what.contains("helper.py") && fault.fix.ends_with(&format!("mounts = [\"{dir}\"]")), "{fault:?}");
    assert_eq!(missed(&["app"]), None);
    assert_eq!(look(&plain(), PATH).neighbours(&script), None);
}

#[test]
fn what_is_to_be_mounted_has_to_be_there() {
    let files = Files::new();
    let fault = fault(&files.sandbox(&["gone"]), "sh");
    assert!(fault.certain && fault.what.contains("is to be mounted") && fault.fix.contains("mounts"), "{fault:?}");
}

#[test]
fn what_is_proposed_to_be_mounted_is_no_home() {
    let files = Files::new();
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    std::fs::create_dir_all(files.at("x/.local/lib")).unwrap();
    for whole in [home.join("run.py"), PathBuf::from("/srv/run.py"), files.at("x/.local/bin/tool")] {
        assert_eq!(mount_for(&whole), whole);
    }
    assert_eq!(mount_for(&home.join("project/run.py")), home.join("project"));
}
