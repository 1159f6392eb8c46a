use switchboard_simulators::{NatsCluster, NatsServer};

/// Where a test's log is: every test of the spine passes on each.
#[derive(Debug)]
pub enum Backend {
    Embedded,
    /// On a broker of the test's own.
    Nats(NatsServer),
    /// On three brokers that keep everything three times.
    Cluster(NatsCluster),
}

impl Backend {
    /// Starts a broker.
    #[must_use]
    pub fn nats() -> Backend {
        Backend::Nats(NatsServer::start())
    }

    /// Where the broker is; `None` when there is none.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        match self {
            Backend::Embedded | Backend::Cluster(_) => None,
            Backend::Nats(server) => Some(server.url()),
        }
    }

    pub(crate) fn keys(&self) -> String {
        if let Backend::Cluster(cluster) = self {
            return format!("backend = \"nats\"\nservers = {:?}\nreplicas = 3", cluster.urls());
        }
        match self.url() {
            None => "backend = \"embedded\"".into(),
            Some(url) => on_broker(&url),
        }
    }
}

/// The keys of `[log]` for the broker at `url`.
pub(crate) fn on_broker(url: &str) -> String {
    format!("backend = \"nats\"\nservers = [\"{url}\"]")
}
