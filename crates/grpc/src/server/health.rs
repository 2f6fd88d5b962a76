//! `grpc.health.v1`: readiness by service, and the name `liveness`, which is SERVING from bind to
//! exit.

use std::sync::Arc;

use tokio::sync::Mutex;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use longshore_api::v1::{run_service_server, server_service_server};

/// What startup and liveness probes ask for.
pub const LIVENESS: &str = "liveness";

/// Names that stand for readiness; the empty one is the server as a whole.
const READINESS: [&str; 3] = ["", run_service_server::SERVICE_NAME, server_service_server::SERVICE_NAME];

/// Reports whether the server serves. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    /// Whether the server drains; then it never becomes ready again.
    draining: Arc<Mutex<bool>>,
}

impl Health {
    /// Live, not ready.
    pub async fn starting() -> Self {
        let health = Self { reporter: HealthReporter::new(), draining: Arc::default() };
        health.reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        health.set_ready(false).await;
        health
    }

    /// Whether new calls are welcome: not while starting, nor while the backend is out of reach.
    /// Without effect once the server drains.
    pub async fn set_ready(&self, ready: bool) {
        let draining = self.draining.lock().await;
        if !*draining {
            self.publish(ready).await;
        }
    }

    /// Not ready, for good.
    pub async fn drain(&self) {
        let mut draining = self.draining.lock().await;
        *draining = true;
        self.publish(false).await;
    }

    async fn publish(&self, ready: bool) {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in READINESS {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// The service that answers.
    pub(crate) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }
}

#[cfg(test)]
mod tests {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus as Wire;
    use tonic_health::pb::health_server::Health as _;

    use super::*;

    async fn asked(health: &Health, service: &str) -> Wire {
        let request = tonic::Request::new(HealthCheckRequest { service: service.to_owned() });
        let service = HealthService::from_health_reporter(health.reporter.clone());
        service.check(request).await.unwrap().get_ref().status()
    }

    #[tokio::test]
    async fn a_drained_server_never_becomes_ready_again() {
        let health = Health::starting().await;
        health.set_ready(true).await;
        assert_eq!(asked(&health, "").await, Wire::Serving);
        health.drain().await;
        health.set_ready(true).await;
        assert_eq!(asked(&health, "").await, Wire::NotServing);
        assert_eq!(asked(&health, LIVENESS).await, Wire::Serving);
    }
}
