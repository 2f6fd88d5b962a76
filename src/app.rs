//! The composition root: the only place that names concrete backends. It reads as the daemon's
//! start order — configuration, telemetry, ports, backend, engine, serve — and its stop order.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::config::{Config, ServeArgs, Serving};
use crate::domain::run::rules::Rules;
use crate::engine::{Engine, EngineConfig, Readiness};
use crate::grpc::{self, GrpcServer, Health, ServeLimits, Served, ServerFacts};
use crate::runtime::admin::{self, Ready};
use crate::runtime::shutdown::Shutdown;
use crate::runtime::{open_files, task, telemetry};

mod access;
mod backend;
mod demo;
mod doctor;
mod metrics;
mod release;

pub use demo::Demo;
pub use doctor::doctor;
use metrics::Metrics;
pub use release::release;

/// Between becoming unready and refusing calls: what endpoints need to notice. On loopback there
/// are none.
const NOTICE: Duration = Duration::from_secs(3);

/// A daemon that serves.
#[derive(Debug)]
pub struct Running {
    /// Where gRPC is served.
    pub address: SocketAddr,
    /// Where the admin endpoints are served.
    pub admin_address: Option<SocketAddr>,
    /// Where health alone is served.
    pub health_address: Option<SocketAddr>,
    done: JoinHandle<anyhow::Result<Served>>,
}

impl Running {
    /// Waits until the daemon has gone down.
    ///
    /// # Errors
    /// What ended it, if that was no orderly end.
    pub async fn ended(self) -> anyhow::Result<Served> {
        self.done.await.context("the server's task panicked")?
    }
}

/// `longshore serve`: until a signal ends it.
///
/// # Errors
/// A configuration that can't be used, a port that is taken, a failure while serving.
pub async fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args)?;
    telemetry::install(config.log_format);
    let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
    let running = start(config, shutdown.clone()).await?;
    tokio::select! {
        ended = running.ended() => {
            if ended? == Served::OutOfPatience {
                warn!("some connections were still open; they are cut");
            }
            info!("ended; live runs go on and are adopted at the next start");
            Ok(ExitCode::SUCCESS)
        }
        () = shutdown.abort.cancelled() => Ok(ExitCode::FAILURE),
    }
}

/// Starts a daemon; it serves when this returns, ready or not.
///
/// # Errors
/// As [`serve`].
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    // One provider of cryptography in the process, whatever else is linked. An error means that
    // it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    access::check_exposure(&config)?;
    let open_files = open_files::raise();
    let (listener, address) = bind(config.listen, "gRPC", "--listen").await?;
    let mut metrics = Metrics::new();
    let (backend, reason) = backend::connect(&config, &mut metrics).await?;
    metrics.set_build(backend.capabilities.backend);
    info!(backend = backend.capabilities.backend, isolation = backend.capabilities.isolation, %reason, "backend");
    for note in &backend.capabilities.notes {
        info!(%note, "isolation");
    }
    task::spawn("doctor", doctor::at_start(config.clone(), shutdown.drain.clone()));
    let Metrics { registry, rpc, engine, access: access_metrics, files, certificates } = metrics;
    let tls = config.access.tls.clone().map(|tls| tls.serve(&certificates)).transpose()?;
    let access = access::configure(&config.access, &backend, &files)?;
    let mut reload = shutdown.reload.subscribe();
    task::spawn("reload", async move {
        while reload.changed().await.is_ok() {
            files.read_again();
        }
    });
    let (ready, admin_ready) = watch::channel(Ready::No("starting".to_owned()));
    let admin_address = match config.admin_listen {
        None => None,
        Some(wanted) => {
            let (listener, address) = bind(wanted, "the admin endpoints", "--admin-listen").await?;
            let stop = shutdown.abort.clone();
            task::spawn("admin", admin::serve(listener, admin_ready, Arc::new(registry), stop));
            Some(address)
        }
    };
    // Streams end and submits are refused a little after readiness goes: endpoints need time.
    let closing = tokio_util::sync::CancellationToken::new();
    let engine = Engine::start(EngineConfig {
        rules: rules(&config, &backend),
        namespaces: config.namespaces.keys().cloned().collect(),
        backend,
        drain: closing.clone(),
        result_deadline: config.result_deadline,
        access,
        access_metrics,
        metrics: engine,
    });
    let health = Health::starting().await;
    let (readiness, abort) = (engine.readiness(), shutdown.abort.clone());
    let publishing = publish_readiness(readiness, health.clone(), ready.clone());
    task::spawn("readiness", async move {
        publishing.await;
        // Nothing is observed any more: a process that is started again does.
        error!("the reconciler ended; so does the process");
        abort.cancel();
    });
    let notice = if config.listen.ip().is_loopback() { Duration::ZERO } else { NOTICE };
    let drain = shutdown.drain.clone();
    let (draining_health, going) = (health.clone(), closing.clone());
    task::spawn("drain", async move {
        drain.cancelled().await;
        draining_health.drain().await;
        ready.send_replace(Ready::No("draining".to_owned()));
        tokio::time::sleep(notice).await;
        going.cancel();
    });
    let facts = ServerFacts { version: env!("CARGO_PKG_VERSION").to_owned(), backend_reason: reason };
    let patience = config.drain_timeout;
    let health_address = match config.health_listen {
        None => None,
        Some(wanted) => {
            let (listener, address) = bind(wanted, "health", "--health-listen").await?;
            let serving = grpc::serve_health(health.clone(), listener, closing.clone(), patience);
            task::spawn("health", async move {
                if let Err(error) = serving.await {
                    error!(%error, "health is not served any more");
                }
            });
            Some(address)
        }
    };
    let admin_port = admin_address.map(|address| address.port());
    let limits = serve_limits(&config.serving, open_files);
    let server = GrpcServer { engine, facts, health, metrics: rpc, tls, limits, admin_port };
    info!(%address, admin = admin_address.map(display), health = health_address.map(display), tls = server.tls.is_some(), version = env!("CARGO_PKG_VERSION"), "serving");
    let done = task::spawn("grpc", async move { Ok(server.serve(listener, closing, patience).await?) });
    Ok(Running { address, admin_address, health_address, done })
}

/// How many connections and streams there may be: of the files that may be open at once, connections take half, since
/// runs and their logs need files too.
fn serve_limits(configured: &Serving, open_files: Option<u64>) -> ServeLimits {
    let own = ServeLimits::default();
    let wanted = configured.max_connections.unwrap_or(own.connections);
    let room = open_files.map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX)).max(1);
    if wanted > room {
        warn!(
            max_connections = room,
            open_files, "there are fewer connections than configured, since few files may be open"
        );
    }
    let connections = wanted.min(room);
    // One address never gets them all.
    let per_address =
        configured.max_connections_per_address.unwrap_or_else(|| own.connections_per_address.min(connections / 2));
    ServeLimits {
        connections,
        connections_per_address: per_address.max(1),
        streams_per_caller: configured.max_streams_per_caller.unwrap_or(own.streams_per_caller),
    }
}

async fn bind(wanted: SocketAddr, what: &str, flag: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        let why = match error.kind() {
            ErrorKind::AddrInUse => "something else listens there".to_owned(),
            ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
            _ => error.to_string(),
        };
        anyhow!("cannot serve {what} on {wanted}: {why}; choose another address with {flag}")
    })?;
    let address = listener.local_addr().with_context(|| format!("cannot determine the address of {wanted}"))?;
    Ok((listener, address))
}

/// What specs are judged by.
fn rules(config: &Config, backend: &crate::backend::Backend) -> Rules {
    Rules {
        limits: config.limits.clone(),
        capabilities: (*backend.capabilities).clone(),
        profiles: config.profiles.clone(),
        volumes: config.volumes.clone(),
    }
}

/// Reports the engine's readiness to health and admin; returns once the engine has failed.
async fn publish_readiness(mut engine: watch::Receiver<Readiness>, health: Health, admin: watch::Sender<Ready>) {
    loop {
        let readiness = engine.borrow_and_update().clone();
        let reported = match &readiness {
            Readiness::Ready => Ready::Yes,
            Readiness::Starting => Ready::No("starting: the backend is being listed".to_owned()),
            Readiness::Broken(why) => Ready::No(why.clone()),
        };
        health.set_ready(reported == Ready::Yes).await;
        let draining = Ready::No("draining".to_owned());
        admin.send_if_modified(|ready| {
            let changed = *ready != draining && *ready != reported;
            if changed {
                *ready = reported;
            }
            changed
        });
        if engine.changed().await.is_err() {
            return health.set_ready(false).await;
        }
    }
}
