//! From signals to an orderly end: the first drains, the second aborts.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::task;

/// The two steps of going down.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled at the first signal: become unready, take nothing new, end every stream.
    pub drain: CancellationToken,
    /// Cancelled at the second signal, or once draining has taken too long: go at once.
    pub abort: CancellationToken,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// If the handlers can't be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let Self { drain, abort } = shutdown.clone();
        task::spawn("signals", async move {
            let name = either(&mut terminate, &mut interrupt).await;
            info!(signal = name, "draining; a second signal ends at once");
            drain.cancel();
            let name = either(&mut terminate, &mut interrupt).await;
            warn!(signal = name, "ending at once");
            abort.cancel();
        });
        Ok(shutdown)
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
