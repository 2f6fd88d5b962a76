//! From signals to an orderly end: the first drains, the second aborts. And those that mean no end.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::task;

/// The two steps of shutting down.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled at the first signal: become unready, take nothing new, end every stream.
    pub drain: CancellationToken,
    /// Cancelled at the second signal, or once draining has taken too long: go at once.
    pub abort: CancellationToken,
    /// Changes at each SIGHUP: read again what can be read again.
    pub reload: watch::Sender<()>,
}

impl Shutdown {
    /// Listens from now on: SIGTERM, SIGINT and SIGQUIT end the process, SIGHUP reloads, and SIGUSR1
    /// and SIGUSR2, which mean nothing here, do not kill it.
    ///
    /// # Errors
    /// If the handlers can't be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let mut ends = Ends {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        };
        let mut hangup = signal(SignalKind::hangup())?;
        let mut unused = [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?];
        let Self { drain, abort, reload } = shutdown.clone();
        task::spawn("signals", async move {
            let name = ends.next().await;
            info!(signal = name, "draining; a second signal ends at once");
            drain.cancel();
            let name = ends.next().await;
            warn!(signal = name, "ending at once");
            abort.cancel();
        });
        task::spawn("signals", async move {
            let [one, two] = &mut unused;
            loop {
                tokio::select! {
                    _ = hangup.recv() => {
                        info!(signal = "SIGHUP", "reading tokens and certificates again; all else needs a restart");
                        reload.send_replace(());
                    }
                    _ = one.recv() => info!(signal = "SIGUSR1", "it means nothing here"),
                    _ = two.recv() => info!(signal = "SIGUSR2", "it means nothing here"),
                }
            }
        });
        Ok(shutdown)
    }
}

/// The signals that end the process.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Ends {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}
