//! Configuration of the daemon.
//!
//! Placeholder: only the arguments that the command line needs to know of.

use std::path::PathBuf;

/// Arguments of `longshore serve`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to serve gRPC on
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Address of the admin server
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<String>,
    /// Where runs are executed: kubernetes, local or auto
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<String>,
    /// Kubeconfig of the cluster
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Directory of the local backend
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Serve beyond loopback without authentication
    #[arg(long)]
    pub insecure_no_auth: bool,
    /// Format of the daemon's own log
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// Arguments of `longshore release`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ReleaseArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Kubeconfig of the cluster
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Kubernetes namespace; repeatable
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Vec<String>,
    /// Installation whose Jobs are released
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Delete the Jobs too, live ones included
    #[arg(long)]
    pub delete: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
