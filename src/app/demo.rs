//! A daemon for the demo: embedded backend, own temporary directory, any free ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context;

use super::{Running, start};
use crate::config::{BackendChoice, Config};
use crate::grpc::Served;
use crate::runtime::shutdown::Shutdown;

/// A daemon that lives as long as the demo.
#[derive(Debug)]
pub struct Demo {
    running: Running,
    shutdown: Shutdown,
    // Deleted when the demo ends, with every run in it.
    _state: tempfile::TempDir,
}

impl Demo {
    /// Starts it. `listen`: where; `None`: on any free port of loopback.
    ///
    /// # Errors
    /// A port that is taken, no place for temporary files.
    pub async fn start(listen: Option<SocketAddr>) -> anyhow::Result<Self> {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let state = tempfile::Builder::new().prefix("longshore-demo-").tempdir().context("cannot make a directory")?;
        let mut config = Config::defaults()?;
        config.listen = listen.unwrap_or(any);
        config.admin_listen = None;
        config.backend = BackendChoice::Local;
        config.local.state_dir = Some(state.path().to_owned());
        let shutdown = Shutdown::default();
        let running = start(config, shutdown.clone()).await?;
        Ok(Self { running, shutdown, _state: state })
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Ends it.
    ///
    /// # Errors
    /// What went wrong while it served.
    pub async fn stop(self) -> anyhow::Result<Served> {
        self.shutdown.drain.cancel();
        self.running.ended().await
    }
}
