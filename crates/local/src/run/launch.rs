//! From a launch to what the shim executes; and the shim's start.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;

use crate::sandbox::bwrap::Sandbox;
use crate::sandbox::options::{Mount, SandboxView};
use crate::sandbox::program::{Fault, Look};
use crate::sandbox::sight::OWN;
use crate::sandbox::sight::Sight;
use crate::sys::{Sys, Unknown, look, seccomp};
use longshore_backend::{BackendError, DryRunVerdict, Launch, Preview};
use longshore_domain::notation::quantity::{Quantity, QuantityError};
use longshore_domain::run::batch::BatchItem;
use longshore_domain::run::profile::{InputDelivery, LocalProfile, Program, Volume};
use longshore_domain::run::rundir::{self, Execution, SPEC_VERSION, StoredRun};
use longshore_domain::run::spec::{EnvSource, EnvVar, NetworkMode, ResultMode, VolumeMount, Workload};
use longshore_runtime::open_files;

/// What stands for this executable in a profile's command.
const OWN_EXECUTABLE: &str = "{longshore}";

/// Knows how programs are started on this machine.
#[derive(Debug)]
pub(crate) struct Launcher {
    /// This executable.
    pub(crate) executable: String,
    /// `$PATH` of the runs.
    pub(crate) path: String,
    /// The state directory.
    pub(crate) state: String,
    /// `None`: runs are plain processes.
    pub(crate) sandbox: Option<Sandbox>,
    /// Volumes that may be mounted.
    pub(crate) volumes: BTreeMap<String, Volume>,
    /// How large the log of a run may become, in bytes.
    pub(crate) log_max_bytes: u64,
    /// How many processes and threads a run may have, or where we are root all of a user. `None`: nothing bounds them.
    pub(crate) max_processes: Option<u64>,
}

impl Launcher {
    /// What is stored of `launch`, whose directory is `dir`.
    pub(crate) fn stored(&self, launch: &Launch, dir: &Path) -> Result<StoredRun, BackendError> {
        Ok(StoredRun {
            version: SPEC_VERSION,
            uid: uuid::Uuid::now_v7().to_string(),
            name: launch.name.clone(),
            submission: launch.submission.clone(),
            execution: self.execution(launch, dir)?,
        })
    }

    fn execution(&self, launch: &Launch, dir: &Path) -> Result<Execution, BackendError> {
        let rejected = |message: String| BackendError::Rejected { what: launch.name.to_string(), message };
        let Program::Process(program) = &launch.program else {
            return Err(rejected("an image can't be executed by backend `local`".to_owned()));
        };
        let dir = dir.to_str().ok_or_else(|| rejected("its directory has no UTF-8 name".to_owned()))?;
        let mut argv = self.argv(program).ok_or_else(|| rejected("its profile has no command".to_owned()))?;
        let effective = &launch.submission.effective;
        let shown = self.shown(program, &argv);
        let shown = shown.map_err(|unknown| BackendError::Io {
            what: "examining the files that the command names".to_owned(),
            source: unknown.into_error(),
        })?;
        let view = self.view(launch, shown, dir).map_err(rejected)?;
        let profile = match &effective.workload {
            Workload::Runner { profile } => profile,
            Workload::Container(_) => "",
        };
        let fault = self.find(&view, &argv, self.path_in(&effective.env), profile).err();
        let sandbox = self.sandbox.as_ref().map(|sandbox| sandbox.command(&view));
        if let Some(sandbox) = &self.sandbox {
            argv.splice(..0, sandbox.dropped(effective.security.run_as_user, effective.security.run_as_group));
        }
        let (input_env, input_stdin) = match &launch.input_delivery {
            InputDelivery::File => (None, false),
            InputDelivery::Env(name) => (launch.input.is_some().then(|| name.clone()), false),
            InputDelivery::Stdin => (None, true),
        };
        Ok(Execution {
            sandbox,
            filter: self.sandbox.as_ref().is_some_and(|sandbox| sandbox.able.filter),
            env: self.env(launch, dir).map_err(rejected)?,
            argv,
            owner: self.owner(&view),
            input_env,
            input_stdin,
            fault: fault.map(|fault| fault.for_shim()),
            log_max_bytes: Some(self.log_max_bytes),
            max_processes: self.max_processes,
            run_timeout: effective.run_timeout,
            termination_grace: effective.termination_grace,
        })
    }

    /// Program and arguments; `None`: the profile has none.
    pub(crate) fn argv(&self, program: &LocalProfile) -> Option<Vec<String>> {
        let mut argv = program.command.clone();
        let first = argv.first_mut()?;
        if first == OWN_EXECUTABLE {
            first.clone_from(&self.executable);
        }
        Some(argv)
    }

    /// `$PATH` of a run with these variables.
    pub(crate) fn path_in<'a>(&'a self, env: &'a [EnvVar]) -> &'a str {
        let set = env.iter().rev().find(|variable| variable.name == "PATH");
        match set.map(|variable| &variable.source) {
            Some(EnvSource::Value(path)) => path,
            Some(EnvSource::SecretKeyRef { .. }) | None => &self.path,
        }
    }

    /// User and group of the program, where we are root and it is not.
    fn owner(&self, view: &SandboxView<'_>) -> Option<(u32, u32)> {
        self.sandbox.as_ref()?.setpriv.as_ref()?;
        Some((u32::try_from(view.user).ok()?, u32::try_from(view.group).ok()?))
    }

    /// What a run with this view sees.
    pub(crate) fn sight(&self, view: &SandboxView<'_>) -> Sight {
        match &self.sandbox {
            Some(sandbox) => Sight::of_sandbox(&sandbox.command(view), self.owner(view)),
            None => Sight::of_machine(Path::new(view.dir).join(rundir::WORK)),
        }
    }

    /// Where the program of `argv` is for a run with this view and this `$PATH`.
    fn find(&self, view: &SandboxView<'_>, argv: &[String], path: &str, profile: &str) -> Result<PathBuf, Fault> {
        let program = argv.first().map_or("", String::as_str);
        Look { sight: &self.sight(view), path, profile }.program(program)
    }

    /// What the sandbox shows of the machine for this command, beside the system: what its profile
    /// mounts, and the files that it names, which the program needs.
    ///
    /// # Errors
    /// Whether one of them is a file could not be found out.
    pub(crate) fn shown(&self, program: &LocalProfile, argv: &[String]) -> Result<(Vec<Mount>, Vec<String>), Unknown> {
        let mount = |path: &String| Mount { source: path.clone(), target: path.clone(), read_only: true };
        let mut visible = Vec::new();
        for path in argv.iter().filter(|path| Path::new(path).is_absolute()) {
            if look(Path::new(path)).known()?.is_some_and(|metadata| metadata.is_file()) {
                visible.push(path.clone());
            }
        }
        Ok((program.mounts.iter().map(mount).collect(), visible))
    }

    fn view<'a>(
        &'a self,
        launch: &'a Launch,
        (mut volumes, visible): (Vec<Mount>, Vec<String>),
        dir: &'a str,
    ) -> Result<SandboxView<'a>, String> {
        let effective = &launch.submission.effective;
        let tmp_bytes = match effective.tmp_size.as_deref().map(tmp_bytes) {
            None => None,
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) => return Err(format!("tmp_size {error}")),
        };
        let memory = memory_bytes();
        if let Some(bytes) = tmp_bytes.filter(|bytes| *bytes > memory) {
            return Err(format!(
                "tmp_size of {bytes} bytes is more than this machine's memory of {memory} bytes, where `/tmp` is kept; ask \
                 for less"
            ));
        }
        volumes.extend(self.mounts(&effective.volumes)?);
        Ok(SandboxView {
            dir,
            state: &self.state,
            hostname: launch.name.run.as_str(),
            user: effective.security.run_as_user,
            group: effective.security.run_as_group,
            network: effective.network_mode != NetworkMode::None,
            read_only_root: effective.security.read_only_root_filesystem,
            tmp_bytes,
            input: launch.input.is_some() && launch.input_delivery == InputDelivery::File,
            files: !launch.files.is_empty(),
            visible,
            volumes,
        })
    }

    pub(crate) fn mounts(&self, volumes: &[VolumeMount]) -> Result<Vec<Mount>, String> {
        let mount = |wanted: &VolumeMount| {
            let volume = self.volumes.get(&wanted.volume);
            let source = volume.and_then(|volume| volume.local_path.clone());
            let source = source.ok_or_else(|| format!("volume `{}` has no `local_path`", wanted.volume))?;
            let read_only = volume.is_some_and(|volume| volume.read_only) || wanted.read_only == Some(true);
            Ok(Mount { source, target: wanted.mount_path.clone(), read_only })
        };
        volumes.iter().map(mount).collect()
    }

    /// The whole environment; what stands later wins.
    fn env(&self, launch: &Launch, dir: &str) -> Result<Vec<(String, String)>, String> {
        let (home, own) = match (&self.sandbox, &launch.submission.effective.tmp_size) {
            (None, _) => (format!("{dir}/{}", rundir::WORK), dir),
            (Some(_), Some(_)) => ("/tmp".to_owned(), OWN),
            (Some(_), None) => ("/".to_owned(), OWN),
        };
        let mut env = vec![
            ("PATH".to_owned(), self.path.clone()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("TMPDIR".to_owned(), home.clone()),
            ("HOME".to_owned(), home),
        ];
        for variable in &launch.submission.effective.env {
            match &variable.source {
                EnvSource::Value(value) => env.push((variable.name.clone(), value.clone())),
                EnvSource::SecretKeyRef { .. } => {
                    return Err(format!("variable {} comes from a Secret, which is not here", variable.name));
                }
            }
        }
        let mut own_variable = |name: &str, value: String| env.push((format!("LONGSHORE_{name}"), value));
        own_variable("RUN", launch.name.run.to_string());
        own_variable("ATTEMPT", "1".to_owned());
        if let Some(BatchItem { id: _, index, count }) = &launch.submission.batch {
            own_variable("INDEX", index.to_string());
            own_variable("COUNT", count.to_string());
        }
        own_variable("RESULT", format!("{own}/{}", rundir::RESULT));
        if launch.submission.effective.result.mode != ResultMode::None {
            own_variable("RESULT_MARKER", launch.submission.result_marker.clone());
        }
        if launch.input.is_some() && launch.input_delivery == InputDelivery::File {
            own_variable("INPUT", format!("{own}/{}", rundir::INPUT));
        }
        if !launch.files.is_empty() {
            own_variable("FILES", format!("{own}/{}", rundir::FILES));
        }
        Ok(env)
    }

    /// Starts a shim for the run in `dir`, detached: it leads its own session as soon as it runs,
    /// and needs nothing of ours from then on. Harmless if the run has a shim already.
    pub(crate) fn start_shim(&self, sys: &Sys, dir: &Path) -> io::Result<tokio::process::Child> {
        sys.call("open")?;
        let errors = File::options().create(true).append(true).open(dir.join(rundir::SHIM_ERRORS))?;
        sys.call("clone")?;
        let mut command = tokio::process::Command::new(&self.executable);
        command.arg("shim").arg(dir).env_clear().current_dir("/");
        // Ours was raised, which is nothing for programs that count on it.
        if let Some(limit) = open_files::before() {
            command.env(rundir::OPEN_FILES, limit.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn()
    }

    /// What would be executed.
    pub(crate) fn preview(&self, launch: &Launch, dir: &Path) -> Result<Preview, BackendError> {
        let execution = self.execution(launch, dir)?;
        let verdict = self.verdict(launch, &execution);
        let size = launch.input.as_ref().map_or(0, |input| input.as_bytes().len());
        let mut command = Vec::new();
        if let Some(sandbox) = &execution.sandbox {
            let given = format!("<the input, {size} bytes>");
            let variables = execution.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let variables = variables.chain(execution.input_env.iter().map(|name| (name.as_str(), given.as_str())));
            let env = variables.map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
            command.extend(sandbox.iter().cloned());
            let filters = if execution.filter { vec!["<fd>".to_owned(); seccomp::PROGRAMS] } else { Vec::new() };
            let rest = rundir::sandbox_options("<fd>", &filters, env);
            command.extend(rest.iter().map(|option| option.to_string_lossy().into_owned()));
            command.push("--".to_owned());
        }
        command.extend(execution.argv);
        let input = match (&launch.input, &launch.input_delivery) {
            (None, _) => "none".to_owned(),
            (Some(_), InputDelivery::File) => "file".to_owned(),
            (Some(_), InputDelivery::Env(name)) => format!("variable {name}"),
            (Some(_), InputDelivery::Stdin) => "standard input".to_owned(),
        };
        let manifest = json!({
            "kind": "Process",
            "name": launch.name.to_string(),
            "directory": dir.display().to_string(),
            "isolation": if self.sandbox.is_some() { "bwrap" } else { "process" },
            // What the daemon starts, which in its turn starts what stands below.
            "shim": [&self.executable, "shim", &dir.display().to_string()],
            "command": command,
            "env": execution.env.into_iter().collect::<BTreeMap<_, _>>(),
            "input": input,
            "files": launch.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
            "max_processes": execution.max_processes,
            "run_timeout": format!("{}s", execution.run_timeout.as_secs()),
            "termination_grace": format!("{}s", execution.termination_grace.as_secs()),
        });
        // JSON is YAML.
        let manifest = serde_json::to_string_pretty(&manifest)
            .map_err(|error| BackendError::Corrupt { what: "the preview".to_owned(), message: error.to_string() })?;
        Ok(Preview { manifest, verdicts: vec![verdict] })
    }

    fn verdict(&self, launch: &Launch, execution: &Execution) -> DryRunVerdict {
        let (accepted, message) = match (&execution.fault, &launch.program) {
            (Some(fault), _) => (false, format!("the program would not be started: {}", fault.message)),
            (None, Program::Process(program)) => {
                let program = self.argv(program).and_then(|argv| argv.into_iter().next()).unwrap_or_default();
                (true, format!("`{}` would be executed", longshore_domain::name::shown(&program)))
            }
            (None, Program::Container(_)) => (false, "an image cannot be executed".to_owned()),
        };
        DryRunVerdict { kind: "Process", accepted, message }
    }
}

/// The machine's memory.
fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit.max(1)))
}

/// Size of `/tmp` in bytes; `None`: there is none.
pub(crate) fn tmp_bytes(text: &str) -> Result<Option<u64>, QuantityError> {
    let size = Quantity::parse(text)?;
    Ok(u64::try_from(size.units()).ok().filter(|bytes| *bytes > 0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::run::facts::tests::{effective, submission};
    use crate::sandbox::system::system_paths;
    use crate::sandbox::trial::{Able, Trial};
    use longshore_domain::name::RunName;
    use longshore_domain::run::facts::Submission;
    use longshore_domain::run::spec::{EffectiveSpec, EnvVar, File, Input, VolumeMount};

    fn launcher(sandboxed: bool) -> Launcher {
        let system = system_paths().unwrap();
        let (masked, able) = (Vec::new(), Able { sizes: true, no_more_users: true, filter: true });
        let sandbox = Sandbox {
            bwrap: "/usr/bin/bwrap".to_owned(),
            setpriv: None,
            executable: "/opt/longshore".to_owned(),
            system,
            masked,
            able,
            trial: Trial::default(),
        };
        Launcher {
            executable: "/opt/longshore".to_owned(),
            path: "/usr/bin:/bin".to_owned(),
            state: "/state".to_owned(),
            sandbox: sandboxed.then_some(sandbox),
            volumes: BTreeMap::new(),
            log_max_bytes: 1 << 20,
            max_processes: Some(7),
        }
    }

    fn launch(command: &[&str]) -> Launch {
        Launch {
            name: RunName::parse("namespaces/default/runs/a").unwrap(),
            submission: submission(),
            program: Program::Process(LocalProfile {
                command: command.iter().map(|s| (*s).to_owned()).collect(),
                mounts: Vec::new(),
            }),
            input_delivery: InputDelivery::File,
            input: Some(Input::Json("{\"secret\":1}".to_owned())),
            files: vec![File { path: "a/b".to_owned(), mode: None, content: b"private".to_vec() }],
            pod_annotations: Vec::new(),
        }
    }

    fn with_effective(change: impl FnOnce(&mut EffectiveSpec)) -> Launch {
        let mut effective = effective();
        change(&mut effective);
        Launch { submission: Submission { effective: Arc::new(effective), ..submission() }, ..launch(&["true"]) }
    }

    fn value<'a>(execution: &'a Execution, name: &str) -> Option<&'a str> {
        execution.env.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn own_files_are_named_as_the_program_sees_them() {
        let dir = Path::new("/state/default/a");
        let plain = launcher(false).execution(&launch(&["true"]), dir).unwrap();
        assert_eq!(value(&plain, "LONGSHORE_INPUT"), Some("/state/default/a/input"));
        assert_eq!(value(&plain, "HOME"), Some("/state/default/a/work"));
        let sandboxed = launcher(true).execution(&launch(&["true"]), dir).unwrap();
        assert_eq!(value(&sandboxed, "LONGSHORE_INPUT"), Some("/run/longshore/input"));
        assert_eq!(value(&sandboxed, "LONGSHORE_FILES"), Some("/run/longshore/files"));
        assert_eq!(value(&sandboxed, "LONGSHORE_RESULT_MARKER"), None);
    }

    #[test]
    fn a_tmp_larger_than_the_memory_is_refused() {
        let refused = |size: &str| {
            let launch = with_effective(|effective| effective.tmp_size = Some(size.to_owned()));
            launcher(true).execution(&launch, Path::new("/state/default/a")).err().map(|error| error.to_string())
        };
        assert_eq!(refused("1Mi"), None);
        let message = refused("100Ti").unwrap();
        assert!(message.contains("tmp_size") && message.contains("memory"), "{message}");
    }

    #[test]
    fn nobody_can_set_our_variables() {
        let variable = EnvVar { name: "LONGSHORE_RESULT".to_owned(), source: EnvSource::Value("x".to_owned()) };
        let launch = with_effective(|effective| effective.env = vec![variable]);
        let execution = launcher(false).execution(&launch, Path::new("/d")).unwrap();
        assert_eq!(value(&execution, "LONGSHORE_RESULT"), Some("/d/result"));
    }

    #[test]
    fn this_executable_stands_for_its_placeholder() {
        let execution = launcher(false).execution(&launch(&["{longshore}", "runner"]), Path::new("/d")).unwrap();
        assert_eq!(execution.argv, ["/opt/longshore", "runner"]);
    }

    #[test]
    fn a_preview_shows_no_content() {
        let preview = launcher(true).preview(&launch(&["no-such-program"]), Path::new("/d")).unwrap();
        assert!(!preview.manifest.contains("secret") && !preview.manifest.contains("private"));
        assert!(preview.manifest.contains("a/b"));
        assert!(!preview.verdicts[0].accepted);
        assert!(preview.verdicts[0].message.contains("in any directory of PATH"), "{:?}", preview.verdicts);
        let preview = launcher(true).preview(&launch(&["true"]), Path::new("/d")).unwrap();
        assert!(preview.verdicts[0].accepted, "{:?}", preview.verdicts);
    }

    #[test]
    fn a_preview_shows_the_command_that_is_executed() {
        let launch = Launch { input_delivery: InputDelivery::Env("QUERY".to_owned()), ..launch(&["echo", "a b"]) };
        let preview = |sandboxed: bool| {
            let manifest = launcher(sandboxed).preview(&launch, Path::new("/d")).unwrap().manifest;
            serde_json::from_str::<serde_json::Value>(&manifest).unwrap()
        };
        let manifest = preview(true);
        assert_eq!(manifest["shim"], json!(["/opt/longshore", "shim", "/d"]));
        let command: Vec<&str> = manifest["command"].as_array().unwrap().iter().map(|o| o.as_str().unwrap()).collect();
        let execution = launcher(true).execution(&launch, Path::new("/d")).unwrap();
        let sandbox = execution.sandbox.unwrap();
        assert_eq!(command[..sandbox.len()], sandbox);
        assert!(command.ends_with(&["--", "echo", "a b"]), "{command:?}");
        let has = |wanted: &[&str]| command.windows(wanted.len()).any(|options| options == wanted);
        assert!(has(&["--add-seccomp-fd", "<fd>", "--add-seccomp-fd", "<fd>"]), "{command:?}");
        assert!(has(&["--clearenv"]) && has(&["--setenv", "PATH", "/usr/bin:/bin"]), "{command:?}");
        assert!(has(&["--setenv", "QUERY", "<the input, 12 bytes>"]), "{command:?}");
        assert_eq!(preview(false)["command"], json!(["echo", "a b"]));
    }

    #[test]
    fn a_fault_goes_with_the_run() {
        let execution = launcher(true).execution(&launch(&["no-such-program"]), Path::new("/d")).unwrap();
        let fault = execution.fault.unwrap();
        assert!(fault.message.contains("no-such-program") && fault.message.contains("profiles.sh.local"), "{fault:?}");
        assert!(!fault.certain);
        assert_eq!(launcher(true).execution(&launch(&["true"]), Path::new("/d")).unwrap().fault, None);
    }

    #[test]
    fn the_program_never_keeps_the_rights_of_root() {
        let mut launcher = launcher(true);
        launcher.sandbox.as_mut().unwrap().setpriv = Some("/usr/bin/setpriv".to_owned());
        // One that is found in the sandbox only, too.
        for program in ["true", "/data/no-such-program"] {
            let execution = launcher.execution(&launch(&[program]), Path::new("/d")).unwrap();
            assert_eq!(execution.argv[0], "/usr/bin/setpriv", "{program}");
        }
    }

    #[test]
    fn what_is_not_here_is_rejected() {
        let secret = EnvSource::SecretKeyRef { name: "s".to_owned(), key: "k".to_owned() };
        let env = with_effective(|e| e.env = vec![EnvVar { name: "A".to_owned(), source: secret }]);
        let volume = VolumeMount { volume: "data".to_owned(), mount_path: "/data".to_owned(), read_only: None };
        let volume = with_effective(|e| e.volumes = vec![volume]);
        for launch in [env, volume, launch(&[])] {
            let error = launcher(true).execution(&launch, Path::new("/d")).unwrap_err();
            assert!(matches!(error, BackendError::Rejected { .. }), "{error}");
        }
    }

    #[test]
    fn a_read_only_volume_stays_read_only() {
        let volume = Volume { local_path: Some("/srv".to_owned()), read_only: true, ..Volume::default() };
        let launcher = Launcher { volumes: [("data".to_owned(), volume)].into(), ..launcher(true) };
        let mount = VolumeMount { volume: "data".to_owned(), mount_path: "/data".to_owned(), read_only: Some(false) };
        let launch = with_effective(|e| e.volumes = vec![mount]);
        let sandbox = launcher.execution(&launch, Path::new("/d")).unwrap().sandbox.unwrap();
        assert!(sandbox.windows(3).any(|options| options == ["--ro-bind", "/srv", "/data"]));
    }
}
