//! The conformance suite against a real broker, and what only a broker can do wrong.

use super::{NatsLog, NatsOptions, OpenError};
use crate::log::{
    Log,
    conformance::{Backend, conformance_suite},
};
use async_trait::async_trait;
use std::sync::Arc;
use switchboard_simulators::NatsServer;

/// A broker of a test's own.
struct OnBroker(NatsServer);

impl OnBroker {
    fn new() -> OnBroker {
        OnBroker(NatsServer::start())
    }

    fn options(&self) -> NatsOptions {
        NatsOptions::new(vec![self.0.url()], "main", crate::outbound::process_name())
    }
}

#[async_trait]
impl Backend for OnBroker {
    async fn open_limited(&self, in_max_bytes: u64) -> Arc<dyn Log> {
        let mut options = self.options();
        options.sizes.inn = in_max_bytes;
        loop {
            match NatsLog::open(&options).await {
                Ok(log) => return log,
                // The handle that was just dropped is still leaving.
                Err(OpenError::Led { .. }) => tokio::task::yield_now().await,
                Err(e) => panic!("{e}"),
            }
        }
    }

    fn forgets_trimmed_ids(&self) -> bool {
        false
    }
}

conformance_suite!(OnBroker::new());
