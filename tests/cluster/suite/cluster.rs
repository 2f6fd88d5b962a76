//! The cluster that the suite runs on.

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::support::wait::within;

/// Held for reading by every test, for writing by one that takes the cluster's parts down.
static QUIET: RwLock<()> = RwLock::const_new(());

/// Keeps the cluster as a test needs it.
#[derive(Debug)]
pub(crate) enum Hold {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Exclusive { _guard: RwLockWriteGuard<'static, ()> },
}

impl Hold {
    pub(crate) async fn shared() -> Self {
        Self::Shared { _guard: QUIET.read().await }
    }

    pub(crate) async fn exclusive() -> Self {
        Self::Exclusive { _guard: QUIET.write().await }
    }
}

/// Where the cluster is.
///
/// # Panics
/// If nobody says.
pub(crate) fn kubeconfig() -> PathBuf {
    // $KUBECONFIG is not asked: it may be anybody's.
    match std::env::var_os("LONGSHORE_TEST_KUBECONFIG") {
        Some(path) if !path.is_empty() => path.into(),
        _ => panic!("this suite needs a cluster: set LONGSHORE_TEST_KUBECONFIG, or see `make test-cluster`"),
    }
}

/// A client with the rights of the kubeconfig.
pub(crate) async fn connect() -> kube::Client {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = Kubeconfig::read_from(kubeconfig()).expect("LONGSHORE_TEST_KUBECONFIG is readable");
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    kube::Client::try_from(config.expect("LONGSHORE_TEST_KUBECONFIG is usable")).expect("a client")
}

/// Image with a shell.
pub(crate) fn busybox() -> String {
    std::env::var("LONGSHORE_TEST_BUSYBOX").unwrap_or_else(|_| "localhost/busybox:test".to_owned())
}

/// Image with the binary that is tested.
pub(crate) fn longshore_image() -> String {
    std::env::var("LONGSHORE_TEST_IMAGE").unwrap_or_else(|_| "localhost/longshore:test".to_owned())
}

/// Directory of CustomResourceDefinitions that may be made and deleted.
pub(crate) fn crds() -> Option<String> {
    std::env::var("LONGSHORE_TEST_CRDS").ok().filter(|dir| !dir.is_empty() && has_control())
}

/// Whether [`control`] can do anything.
pub(crate) fn has_control() -> bool {
    std::env::var_os("LONGSHORE_TEST_CONTROL").is_some_and(|path| !path.is_empty())
}

/// Has the cluster's supervisor do something, such as `restart kube-apiserver`; what it says to that.
///
/// # Panics
/// If it can't.
pub(crate) async fn control(line: &str) -> Vec<String> {
    let path = std::env::var_os("LONGSHORE_TEST_CONTROL").expect("LONGSHORE_TEST_CONTROL");
    let mut socket = UnixStream::connect(path).await.expect("the supervisor's socket");
    socket.write_all(format!("{line}\n").as_bytes()).await.expect("the supervisor listens");
    let mut said = Vec::new();
    let mut answers = BufReader::new(socket).lines();
    while let Some(answer) = within(line, answers.next_line()).await.expect("the supervisor answers") {
        match answer.strip_prefix("error: ") {
            Some(why) => panic!("{line}: {why}"),
            None if answer == "ok" => return said,
            None => said.push(answer),
        }
    }
    panic!("{line}: no answer");
}
