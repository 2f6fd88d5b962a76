//! A daemon for the demo: embedded backend, a directory and a port of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Running, start};
use crate::config::{BackendChoice, Config};
use crate::grpc::Served;
use crate::runtime::shutdown::Shutdown;

/// A daemon that lives as long as the demo.
#[derive(Debug)]
pub struct Demo {
    running: Running,
    shutdown: Shutdown,
}

impl Demo {
    /// Starts it on `listen`, with its runs in `state_dir`.
    ///
    /// # Errors
    /// A port that is taken, a directory that can't be used.
    pub async fn start(state_dir: PathBuf, listen: SocketAddr) -> anyhow::Result<Self> {
        let mut config = Config::defaults()?;
        config.listen = listen;
        config.admin_listen = None;
        config.backend = BackendChoice::Local;
        config.local.state_dir = Some(state_dir);
        let shutdown = Shutdown::default();
        let running = start(config, shutdown.clone()).await?;
        Ok(Self { running, shutdown })
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
