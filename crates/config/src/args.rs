//! Flags of the verbs that read the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

const SERVE_EXAMPLES: &str = "\
Examples:
  longshore serve                                 on this machine, for this machine alone
  longshore serve --backend kubernetes --kubeconfig ~/.kube/config
                                                  runs become Jobs of that cluster
  longshore serve --config longshore.toml         namespaces, profiles, limits, TLS, who may call
  longshore serve --print-config > longshore.toml a file with every key and its default
  longshore serve --listen 127.0.0.1:0 --admin-listen off --state-dir /tmp/longshore
                                                  beside another one; its log says the port

It serves until SIGTERM or Ctrl-C, then lets open calls end; live runs are left alone, and are found \
again at the next start. Flags win over variables, and these over the file. RUST_LOG=debug logs more.

Exit codes: 0 stopped on request, 1 stopped by a second signal before its calls had ended, 125 wrong \
usage, or it could not start.";

const RELEASE_EXAMPLES: &str = "\
Examples:
  longshore release --kubeconfig ~/.kube/config --config longshore.toml
  longshore release --scale-down longshore/longshore     ends the daemon first
  longshore release --delete                             deletes the Jobs too, live ones included

Without --kubeconfig: the cluster that this runs in, else $KUBECONFIG or ~/.kube/config.

Exit codes: 0 all were released, 1 not all, 125 wrong usage, or the cluster cannot be reached.";

/// An IP address and a port, such as `127.0.0.1:7420` or `[::1]:7420`, or `localhost` and a port, which is
/// 127.0.0.1; port 0 is any free one.
///
/// # Errors
/// What is expected instead.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let text = match text.rsplit_once(':') {
        // Not asked of a resolver: what it is called may not be made to mean another machine (RFC 6761, section 6.3).
        Some((host, port)) if host.eq_ignore_ascii_case("localhost") => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    text.parse()
        .map_err(|_| "expected an IP address or localhost, and a port, such as 127.0.0.1:7420 or [::1]:7420".to_owned())
}

/// What a variable holds that stands for a flag.
///
/// # Errors
/// What is expected instead.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// Flags that name an installation: its configuration file, and its cluster.
#[derive(Args, Clone, Debug, Default)]
pub struct InstallationArgs {
    /// Configuration file of the daemon (TOML); without it every key has its default
    #[arg(long, short = 'c', env = "LONGSHORE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Kubeconfig file of the cluster
    #[arg(long, env = "LONGSHORE_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context in the kubeconfig [default: its current one]
    #[arg(long, env = "LONGSHORE_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// Name of the installation: two with different names never touch each other's runs
    /// [default: longshore]
    #[arg(long, env = "LONGSHORE_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,
}

/// Flags that say where a daemon serves, and what may be served there.
#[derive(Args, Clone, Debug, Default)]
pub struct AddressArgs {
    /// Address to serve gRPC on [default: 127.0.0.1:7420]
    #[arg(long, env = "LONGSHORE_LISTEN", value_name = "ADDR", value_parser = socket_address)]
    pub listen: Option<SocketAddr>,

    /// Address to serve /livez, /readyz and /metrics on; "off" for nowhere [default: 127.0.0.1:7421]
    #[arg(long, env = "LONGSHORE_ADMIN_LISTEN", value_name = "ADDR")]
    pub admin_listen: Option<String>,

    /// Address to serve grpc.health.v1 alone on, in plaintext, for the kubelet; "off" for nowhere
    /// [default: off]
    #[arg(long, env = "LONGSHORE_HEALTH_LISTEN", value_name = "ADDR")]
    pub health_listen: Option<String>,

    /// Serve beyond loopback although nobody is authenticated
    #[arg(long, env = "LONGSHORE_INSECURE_NO_AUTH", value_parser = switch)]
    pub insecure_no_auth: bool,

    /// Serve beyond loopback without TLS: tokens travel in clear
    #[arg(long, env = "LONGSHORE_INSECURE_PLAINTEXT", value_parser = switch)]
    pub insecure_plaintext: bool,
}

/// Flags of `longshore serve`. They win over the configuration file.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    /// Which installation.
    #[command(flatten)]
    pub installation: InstallationArgs,

    /// Where to serve, and to whom.
    #[command(flatten)]
    pub addresses: AddressArgs,

    /// What executes runs
    ///
    /// auto: an explicit kubeconfig, else the cluster this runs in, else this machine.
    /// $KUBECONFIG and ~/.kube/config are used with an explicit `kubernetes` only, so that a
    /// laptop never submits to production by accident.
    #[arg(long, env = "LONGSHORE_BACKEND", value_enum, value_name = "BACKEND")]
    pub backend: Option<BackendChoice>,

    /// Where the local backend keeps its runs
    #[arg(long, env = "LONGSHORE_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Print a configuration file with every key, its default and its meaning, and exit
    #[arg(long)]
    pub print_config: bool,

    /// How log lines are written: auto (text on a terminal, else json), text, json
    #[arg(long, env = "LONGSHORE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// Which backend executes runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// An explicit kubeconfig, else the cluster this runs in, else this machine.
    #[default]
    Auto,
    /// A Kubernetes cluster.
    Kubernetes,
    /// Processes of this machine.
    Local,
}

/// Flags of `longshore release`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = RELEASE_EXAMPLES)]
pub struct ReleaseArgs {
    /// Which installation.
    #[command(flatten)]
    pub installation: InstallationArgs,

    /// Kubernetes namespace to release, in place of those of the configuration; may be repeated
    #[arg(long = "kubernetes-namespace", value_name = "NAME")]
    pub kubernetes_namespaces: Vec<String>,

    /// First scale the daemon's Deployment to 0, and wait until its Pods are gone
    #[arg(long, value_name = "NAMESPACE/DEPLOYMENT")]
    pub scale_down: Option<String>,

    /// Delete the Jobs as well, live ones included
    #[arg(long)]
    pub delete: bool,
}

/// Flags of `longshore doctor`.
#[derive(Args, Clone, Debug, Default)]
pub struct DoctorArgs {
    /// Which installation.
    #[command(flatten)]
    pub installation: InstallationArgs,

    /// What executes runs, as for `longshore serve`
    #[arg(long, env = "LONGSHORE_BACKEND", value_enum, value_name = "BACKEND")]
    pub backend: Option<BackendChoice>,

    /// Where the local backend keeps its runs
    #[arg(long, env = "LONGSHORE_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Where it would serve, and to whom.
    #[command(flatten)]
    pub addresses: AddressArgs,

    /// Make Pods too, and delete them again: reports whether NetworkPolicies are enforced, and whether each
    /// profile's image can be pulled
    #[arg(long)]
    pub canary: bool,

    /// Image with this binary at /usr/local/bin/longshore, for the canaries of the network
    /// [default: the image of profile `sql`]
    #[arg(long, value_name = "IMAGE", requires = "canary")]
    pub canary_image: Option<String>,
}
