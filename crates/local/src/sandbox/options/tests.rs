//! What the options for `bwrap` are, each for a reason.

use super::*;
use crate::sandbox::trial::{Able, Trial};

fn sandbox() -> Sandbox {
    let system = vec![
        SystemPath::Directory("/usr".to_owned()),
        SystemPath::Link { path: "/bin".to_owned(), target: "usr/bin".to_owned() },
    ];
    let masked = vec![Masked::File("/proc/keys"), Masked::Directory("/proc/acpi")];
    let able = Able { sizes: true, no_more_users: true, filter: true };
    let (bwrap, executable) = ("/usr/bin/bwrap".to_owned(), "/srv/longshore".to_owned());
    Sandbox { bwrap, setpriv: None, executable, system, masked, able, trial: Trial::default() }
}

fn view() -> SandboxView<'static> {
    SandboxView {
        dir: "/state/default/a",
        state: "/state",
        hostname: "run-a",
        user: 1234,
        group: 4321,
        read_only_root: true,
        tmp_bytes: Some(1024),
        ..SandboxView::default()
    }
}

fn has(list: &[String], options: &[&str]) -> bool {
    list.windows(options.len()).any(|window| window == options)
}

#[test]
fn a_run_has_its_own_namespaces_and_identity() {
    let list = sandbox().command(&view());
    assert_eq!(list[0], "/usr/bin/bwrap");
    for option in ["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"] {
        assert!(has(&list, &[option]), "{option}");
    }
    assert!(has(&list, &["--uid", "1234", "--gid", "4321"]));
    assert!(has(&list, &["--die-with-parent", "--new-session", "--cap-drop", "ALL"]));
    assert!(has(&list, &["--hostname", "run-a"]));
}

#[test]
fn root_maps_nobody_to_itself() {
    let by_root = Sandbox { setpriv: Some("/usr/bin/setpriv".to_owned()), ..sandbox() };
    let list = by_root.command(&view());
    assert!(!has(&list, &["--unshare-user"]) && !has(&list, &["--uid"]));
    let added: Vec<_> = list.windows(2).filter(|pair| pair[0] == "--cap-add").map(|pair| pair[1].as_str()).collect();
    assert_eq!(added, ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"]);
    let dropped = by_root.dropped(1234, 4321);
    // Whatever the program's environment is to be, what root executes has none of it.
    assert!(has(&dropped, &["--inh-caps=-all", "--bounding-set=-all", "--", ENTER, "enter", "--"]));
    assert!(has(&list, &["--ro-bind", "/srv/longshore", ENTER]));
    assert!(has(&dropped, &["--reuid", "1234", "--regid", "4321", "--clear-groups"]));
    assert_eq!(sandbox().dropped(1234, 4321), [ENTER, "enter", "--"]);
}

#[test]
fn it_sees_the_system_and_its_own_files_only() {
    let list = sandbox().command(&SandboxView { input: true, ..view() });
    let sources: Vec<&str> = list
        .windows(2)
        .filter(|pair| pair[0].ends_with("bind") || pair[0].ends_with("bind-try"))
        .map(|pair| pair[1].as_str())
        .filter(|source| !source.starts_with("/etc/") && !source.starts_with("/proc/") && *source != "/dev/null")
        .collect();
    assert_eq!(sources, ["/usr", "/srv/longshore", "/state/default/a/result", "/state/default/a/input"]);
    assert!(has(&list, &["--symlink", "usr/bin", "/bin"]));
    assert!(!list.iter().any(|option| option.contains("shadow") || option == "/etc"));
}

#[test]
fn the_root_is_closed_after_everything_is_mounted() {
    let list = sandbox().command(&SandboxView { files: true, ..view() });
    let at = |option: &str| list.iter().rposition(|o| o == option).unwrap();
    assert!(at("--remount-ro") > at("--ro-bind") && at("--remount-ro") > at("--bind"));
    let open = sandbox().command(&SandboxView { read_only_root: false, ..view() });
    assert!(!has(&open, &["--remount-ro", "/"]));
    // What is written is bounded all the same.
    assert!(has(&open, &["--size", "1024", "--tmpfs", "/", "--hostname"]));
}

#[test]
fn devices_are_closed_after_their_memory_is_mounted() {
    let list = sandbox().command(&view());
    let bytes = SHM_BYTES.to_string();
    assert!(has(&list, &["--dev", "/dev", "--size", &bytes, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]));
}

#[test]
fn what_no_namespace_separates_is_masked() {
    let list = sandbox().command(&view());
    assert!(has(&list, &["--proc", "/proc", "--ro-bind-try", "/proc/bus", "/proc/bus"]));
    assert!(has(&list, &["--ro-bind", "/dev/null", "/proc/keys"]));
    assert!(has(&list, &["--size", "4096", "--tmpfs", "/proc/acpi", "--remount-ro", "/proc/acpi"]));
}

#[test]
fn only_who_is_not_root_gives_up_user_namespaces_so() {
    assert!(has(&sandbox().command(&view()), &["--disable-userns"]));
    let by_root = Sandbox { setpriv: Some("/usr/bin/setpriv".to_owned()), ..sandbox() };
    assert!(!has(&by_root.command(&view()), &["--disable-userns"]));
    let old = Sandbox { able: Able::default(), ..sandbox() };
    assert!(!has(&old.command(&view()), &["--disable-userns"]));
}

#[test]
fn tmp_is_sized_or_absent() {
    assert!(has(&sandbox().command(&view()), &["--size", "1024", "--tmpfs", "/tmp"]));
    assert!(has(&sandbox().command(&view()), &["--chdir", "/tmp"]));
    let without = sandbox().command(&SandboxView { tmp_bytes: None, ..view() });
    assert!(!has(&without, &["--tmpfs", "/tmp"]) && has(&without, &["--chdir", "/"]));
    let old = Sandbox { able: Able::default(), ..sandbox() };
    assert!(!has(&old.command(&view()), &["--size"]));
}

#[test]
fn the_state_directory_is_hidden_where_the_system_would_show_it() {
    let list = sandbox().command(&SandboxView { state: "/usr/local/state", ..view() });
    assert!(has(&list, &["--tmpfs", "/usr/local/state", "--remount-ro", "/usr/local/state"]));
}

#[test]
fn the_state_directory_is_hidden_in_what_is_mounted() {
    let mount =
        |source: &str, target: &str| Mount { source: source.to_owned(), target: target.to_owned(), read_only: true };
    let volumes = vec![mount("/home/me", "/home/me"), mount("/home/me/.local", "/data"), mount("/home/you", "/you")];
    let list = sandbox().command(&SandboxView { state: "/home/me/.local/state/longshore", volumes, ..view() });
    let hidden: Vec<_> = list.windows(2).filter(|pair| pair[0] == "--tmpfs").map(|pair| pair[1].as_str()).collect();
    assert_eq!(hidden, ["/proc/acpi", "/dev/shm", "/tmp", "/home/me/.local/state/longshore", "/data/state/longshore"]);
}

#[test]
fn the_state_directory_is_hidden_behind_links_too() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir_all(at("top/state")).unwrap();
    std::os::unix::fs::symlink("top/state", at("link")).unwrap();
    std::os::unix::fs::symlink("top", at("toplink")).unwrap();
    for (state, source) in [(at("link"), at("top")), (at("top/state"), at("toplink")), (at("link"), at("toplink"))] {
        let volumes = vec![Mount { source, target: "/x".to_owned(), read_only: false }];
        let list = sandbox().command(&SandboxView { state: &state, volumes, ..view() });
        assert!(has(&list, &["--tmpfs", "/x/state", "--remount-ro", "/x/state"]), "{list:?}");
    }
}

#[test]
fn a_file_is_bound_by_itself_unless_its_directory_is() {
    let visible = ["/srv/app/run.py", "/opt/tool", "/bin/sh"].map(str::to_owned).to_vec();
    let mount = Mount { source: "/srv/app".to_owned(), target: "/srv/app".to_owned(), read_only: true };
    let list = sandbox().command(&SandboxView { visible: visible.clone(), volumes: vec![mount], ..view() });
    assert!(!has(&list, &["--ro-bind", "/srv/app/run.py"]) && has(&list, &["--ro-bind", "/srv/app", "/srv/app"]));
    assert!(has(&list, &["--ro-bind", "/opt/tool", "/opt/tool"]));
    assert!(!has(&list, &["--ro-bind", "/bin/sh"]), "the system has it, behind a link");
    assert!(has(&sandbox().command(&SandboxView { visible, ..view() }), &["--ro-bind", "/srv/app/run.py"]));
}

#[test]
fn volumes_are_mounted_as_asked() {
    let mount = |read_only| Mount { source: "/data".to_owned(), target: "/mnt".to_owned(), read_only };
    let list = sandbox().command(&SandboxView { volumes: vec![mount(true)], ..view() });
    assert!(has(&list, &["--ro-bind", "/data", "/mnt"]));
    let list = sandbox().command(&SandboxView { volumes: vec![mount(false)], ..view() });
    assert!(has(&list, &["--bind", "/data", "/mnt"]));
}

#[test]
fn network_is_shared_only_if_asked() {
    assert!(!has(&sandbox().command(&SandboxView { network: true, ..view() }), &["--unshare-net"]));
}
