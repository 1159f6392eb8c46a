use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use switchboard_e2e::wire::find;
use switchboard_simulators::FastStub;
use tokio::sync::mpsc;

/// What the replies of the benchmark's rule carry, so that the provider knows which message is answered.
pub const MARK: &str = "bench-";

/// The SMS provider: it accepts everything at once, counts the replies and notes when each arrived.
pub struct Provider {
    stub: FastStub,
    replies: Arc<AtomicU64>,
}

/// A reply's number, and the moment when all of its request had arrived.
pub type Arrival = (u64, Instant);

impl Provider {
    /// Starts it. `arrivals`, if any, hears of every reply.
    pub async fn start(arrivals: Option<mpsc::UnboundedSender<Arrival>>) -> io::Result<Provider> {
        let replies = Arc::new(AtomicU64::new(0));
        let counter = replies.clone();
        let stub = FastStub::start_with(move |body| {
            let Some(number) = number(body) else { return };
            counter.fetch_add(1, Ordering::Relaxed);
            if let Some(arrivals) = &arrivals {
                let _ = arrivals.send((number, Instant::now()));
            }
        });
        Ok(Provider { stub: stub.await?, replies })
    }

    pub fn base_url(&self) -> String {
        self.stub.base_url()
    }

    /// How many replies it has taken.
    pub fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }
}

/// The number after the mark in a request's body.
fn number(body: &[u8]) -> Option<u64> {
    let from = find(body, MARK.as_bytes())? + MARK.len();
    let digits: Vec<u8> = body[from..].iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}
