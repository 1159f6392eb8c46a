use switchboard_simulators::NatsServer;

/// Where a test's log is: every test of the spine passes on each.
#[derive(Debug)]
pub enum Backend {
    Embedded,
    /// On a broker of the test's own.
    Nats(NatsServer),
}

impl Backend {
    /// Starts a broker.
    #[must_use]
    pub fn nats() -> Backend {
        Backend::Nats(NatsServer::start())
    }

    pub(crate) fn keys(&self) -> String {
        match self {
            Backend::Embedded => "backend = \"embedded\"".into(),
            Backend::Nats(server) => format!("backend = \"nats\"\nservers = [\"{}\"]", server.url()),
        }
    }
}
