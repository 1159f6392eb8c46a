//! The channel of an adapter in another process: the example in Python, at which people write by hand.

use super::{Signed, Way};
use crate::{Dice, Python, Shop, line};
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long the adapter may take to say that it has a line: the daemon may be down meanwhile.
const LONG: Duration = Duration::from_secs(60);

/// The example on the shop's broker. It lives through the day; the daemon beside it does not.
pub struct Line {
    _python: Python,
    address: String,
    people: tokio::sync::Mutex<BTreeMap<u64, Person>>,
    said: Mutex<BTreeSet<String>>,
}

/// Somebody at their terminal.
struct Person {
    writes: OwnedWriteHalf,
    /// One for each line of theirs that is stored.
    received: mpsc::UnboundedReceiver<()>,
    /// Ends with what they were told, once they hung up.
    reads: JoinHandle<Vec<String>>,
}

impl Line {
    /// Starts it, once the daemon has made its streams.
    pub async fn start(shop: &Shop, broker: &str) -> Line {
        let (python, address) = line(shop, broker, "adapter.log", &[]).await;
        Line { _python: python, address, people: tokio::sync::Mutex::default(), said: Mutex::default() }
    }

    async fn sits_down(&self, who: u64) -> Person {
        let stream = TcpStream::connect(&self.address).await.expect("the adapter listens");
        let (reads, mut writes) = stream.into_split();
        writes.write_all(format!("customer-{who}\n").as_bytes()).await.expect("the adapter reads");
        let (told, received) = mpsc::unbounded_channel();
        let reads = tokio::spawn(async move {
            let (mut lines, mut heard) = (BufReader::new(reads).lines(), vec![]);
            while let Ok(Some(line)) = lines.next_line().await {
                match line.as_str() {
                    "* received" => drop(told.send(())),
                    other if other.starts_with("* ") => {}
                    _ => heard.push(line),
                }
            }
            heard
        });
        Person { writes, received, reads }
    }
}

impl Way for Line {
    fn channel(&self) -> &'static str {
        "line"
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, _: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            // Who types something again says it again: only what was not said is said.
            if !self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned()) {
                return true;
            }
            let known = self.people.lock().await.remove(&who);
            let mut person = match known {
                Some(person) => person,
                None => self.sits_down(who).await,
            };
            person.writes.write_all(format!("{text}\n").as_bytes()).await.expect("the adapter reads");
            let taken = tokio::time::timeout(LONG, person.received.recv()).await;
            taken.expect("the adapter says that it has the line").expect("the adapter is there");
            self.people.lock().await.insert(who, person);
            true
        })
    }

    fn trouble(&self, _: &mut Dice) {
        // Nobody stands between the adapter and its people.
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            // Who hangs up has read everything that was written to them.
            let Some(mut person) = self.people.lock().await.remove(&who) else { return vec![] };
            person.writes.shutdown().await.expect("a connection");
            person.reads.await.expect("the lines are read")
        })
    }

    fn signs(&self) -> bool {
        false
    }

    fn says_at_once(&self) -> bool {
        false
    }
}
