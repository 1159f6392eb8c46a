use crate::provider::MARK;
use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use switchboard_e2e::wire::Connection;
use switchboard_e2e::{Shop, sid};

/// Signed webhooks, ready to be written. They are made before the clock starts: what the provider's side costs is not measured.
pub struct Webhooks {
    pub requests: Vec<Bytes>,
    pub address: SocketAddr,
}

/// What the messages say.
#[derive(Clone, Copy)]
pub enum Text {
    /// Answered by the rule; the reply carries the message's number.
    Answered,
    /// Answered by no rule: it waits for an agent.
    Waits,
}

impl Webhooks {
    /// `count` messages numbered from `first`, by `senders` customers in turn.
    pub fn sign(shop: &Shop, text: Text, first: u64, count: u64, senders: u64) -> Webhooks {
        let address = SocketAddr::from(([127, 0, 0, 1], shop.public_port));
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let share = count.div_ceil(threads);
        let parts: Vec<Vec<Bytes>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|t| {
                    let range = first + (t * share).min(count)..first + ((t + 1) * share).min(count);
                    scope.spawn(move || range.map(|n| request(shop, text, n, senders)).collect())
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("signing does not fail")).collect()
        });
        Webhooks { requests: parts.concat(), address }
    }

    /// Sends all of them as fast as they are accepted, over `connections`, and returns how long that took. A refusal for being
    /// busy is repeated, as the provider would.
    pub async fn flood(self, connections: usize) -> io::Result<Flooded> {
        let began = Instant::now();
        let next = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(self.requests);
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let (next, requests, address) = (next.clone(), requests.clone(), self.address);
            workers.spawn(async move {
                let mut connection = Connection::open(address).await?;
                let mut refused = 0u64;
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    while !accepted(connection.ask(request).await?)? {
                        refused += 1;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                io::Result::Ok(refused)
            });
        }
        let mut refused = 0;
        while let Some(worker) = workers.join_next().await {
            refused += worker.map_err(io::Error::other)??;
        }
        Ok(Flooded { began, accepted_in: began.elapsed(), refused })
    }

    /// Sends them at a fixed rate whatever the answers do, and returns when each was due: a late answer delays nobody.
    pub async fn pace(self, rate: u32, connections: usize) -> io::Result<Vec<Instant>> {
        let (requests, address) = (self.requests, self.address);
        let (give, mut take) = async_pool(address, connections).await?;
        let began = Instant::now();
        let due: Vec<Instant> =
            (0..requests.len()).map(|i| began + Duration::from_secs_f64(i as f64 / f64::from(rate))).collect();
        let mut turns = turns(due.clone());
        let mut flying = tokio::task::JoinSet::new();
        for request in requests {
            turns.recv().await.ok_or_else(|| io::Error::other("the clock's thread ended"))?;
            let mut connection = take.recv().await.ok_or_else(|| io::Error::other("every connection broke"))?;
            let give = give.clone();
            flying.spawn(async move {
                let answer = connection.ask(&request).await;
                let _ = give.send(connection).await;
                accepted(answer?)
            });
        }
        while let Some(done) = flying.join_next().await {
            if !done.map_err(io::Error::other)?? {
                return Err(io::Error::other("the daemon was busy at the fixed rate"));
            }
        }
        Ok(due)
    }
}

/// Says when each moment has come. The runtime's timers are as coarse as a millisecond, and waiting for the rest of it would take
/// a processor away from the daemon: a thread of its own sleeps to the microsecond.
fn turns(due: Vec<Instant>) -> tokio::sync::mpsc::UnboundedReceiver<()> {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for at in due {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if tell.send(()).is_err() {
                return;
            }
        }
    });
    told
}

/// How a flood went.
pub struct Flooded {
    pub began: Instant,
    pub accepted_in: Duration,
    pub refused: u64,
}

type Pool = (tokio::sync::mpsc::Sender<Connection>, tokio::sync::mpsc::Receiver<Connection>);

async fn async_pool(address: SocketAddr, connections: usize) -> io::Result<Pool> {
    let (give, take) = tokio::sync::mpsc::channel(connections);
    for _ in 0..connections {
        let connection = Connection::open(address).await?;
        give.send(connection).await.map_err(|_| io::Error::other("the pool is closed"))?;
    }
    Ok((give, take))
}

/// Whether an answer means that the message is ours; 503 and 429 mean later; anything else ends the benchmark.
fn accepted(status: u16) -> io::Result<bool> {
    match status {
        200..=299 => Ok(true),
        429 | 503 => Ok(false),
        _ => Err(io::Error::other(format!("the daemon answered a signed webhook with {status}"))),
    }
}

fn request(shop: &Shop, text: Text, number: u64, senders: u64) -> Bytes {
    let from = format!("+1555{:07}", number % senders);
    let text = match text {
        Text::Answered => format!("where is my refund {MARK}{number}"),
        Text::Waits => format!("hello, this is message {number}"),
    };
    let sms = shop.sms(&from, &text, &sid(&format!("{number}")));
    let body = sms.body();
    Bytes::from(format!(
        "POST /hooks/support-sms HTTP/1.1\r\nHost: hooks.shop.example\r\nUser-Agent: TwilioProxy/1.1\r\n\
         Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nX-Twilio-Signature: {}\r\nContent-Length: {}\r\n\r\n{body}",
        sms.signature(),
        body.len()
    ))
}
