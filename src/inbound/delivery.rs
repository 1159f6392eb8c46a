//! Mail that a server of ours hands over by LMTP or SMTP: accepted once IN has it.

use super::ingest::Ingest;
use super::mail::{Careful, Guard, Job, opened, store};
use crate::clock;
use crate::log::LogError;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use switchboard_email::delivery::{Delivered, Dialogue, Settled, Step, with_trace};
use switchboard_email::{Delivery, Email};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Connections at once. Each holds one mail at most.
const CONNECTIONS: usize = 32;
/// How long a client may be silent (RFC 5321 §4.5.3.2).
const PATIENCE: Duration = Duration::from_secs(300);
/// For so long after a start mails are read with care: a server waits up to an hour before it tries again.
const CAREFUL: Duration = Duration::from_secs(2 * 3600);
/// What is read at once.
const CHUNK: usize = 32 * 1024;

/// A listener of a channel.
pub struct Handover {
    pub channel: String,
    pub email: Arc<Email>,
    pub delivery: Delivery,
    pub listener: TcpListener,
}

/// Takes mail until `stop`. Whoever is in the middle of a mail then is not answered, and sends it again.
pub fn spawn(handover: Handover, ingest: Ingest, mut stop: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::select! {
            () = serve(Arc::new(handover), ingest) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    })
}

async fn serve(handover: Arc<Handover>, ingest: Ingest) {
    let name = format!("reading.delivery.{}", handover.channel);
    let guard = Arc::new(Guard::new(ingest.log.clone(), name, Careful::For(CAREFUL)));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let (stream, peer) = match handover.listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: that passes.
                tracing::warn!(channel = %handover.channel, %error, "no connection of a mail server can be accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (handover, ingest, guard) = (handover.clone(), ingest.clone(), guard.clone());
        connections.spawn(async move {
            if let Err(error) = connection(&handover, &guard, &ingest, stream, peer).await {
                tracing::debug!(channel = %handover.channel, %peer, %error, "a mail server left");
            }
            drop(place);
        });
    }
}

async fn connection(
    handover: &Handover,
    guard: &Guard,
    ingest: &Ingest,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> std::io::Result<()> {
    let ip = peer.ip().to_canonical();
    if !handover.delivery.peers.iter().any(|p| p.to_canonical() == ip) {
        tracing::warn!(channel = %handover.channel, %peer, "whoever is not among `delivery.peers` hands over no mail");
        return stream.write_all(b"554 5.7.1 you are not expected here\r\n").await;
    }
    let mut dialogue = Dialogue::new(handover.email.rules(handover.delivery.protocol));
    stream.write_all(dialogue.greeting().as_bytes()).await?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let silent = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut chunk)).await.map_err(silent)??;
        if read == 0 {
            return Ok(());
        }
        dialogue.push(chunk.get(..read).unwrap_or_default());
        while let Some(step) = dialogue.step() {
            let answer = match step {
                Step::Answer(answer) => answer,
                Step::Close(answer) => return stream.write_all(answer.as_bytes()).await,
                Step::Store(delivered) => {
                    let settled = keep(handover, guard, ingest, delivered, ip).await;
                    dialogue.settled(settled)
                }
            };
            tokio::time::timeout(PATIENCE, stream.write_all(answer.as_bytes())).await.map_err(silent)??;
        }
    }
}

/// Puts one mail into IN. One whose reading does not end is answered that it comes later, and is kept unread the next time.
async fn keep(handover: &Handover, guard: &Guard, ingest: &Ingest, delivered: Delivered, peer: IpAddr) -> Settled {
    let later = |error: &dyn std::fmt::Display| {
        tracing::warn!(channel = %handover.channel, %error, "a mail was not accepted; its server tries again");
        Settled::Later
    };
    let now = clock::now();
    let (protocol, channel) = (handover.delivery.protocol, handover.channel.clone());
    let traced = tokio::task::spawn_blocking(move || {
        let date = jiff::Timestamp::from_millisecond(now.0).ok().map(|at| at.to_zoned(jiff::tz::TimeZone::UTC));
        let date = date.and_then(|at| jiff::fmt::rfc2822::to_string(&at).ok()).unwrap_or_default();
        let mail = Bytes::from(with_trace(&delivered, &peer.to_string(), protocol, &channel, &date));
        (Bytes::from(delivered.mail), mail)
    });
    let (key, mail) = match traced.await {
        Ok(traced) => traced,
        Err(error) => return later(&error),
    };
    let (email, bytes) = (handover.email.clone(), mail.clone());
    let read = match guard.read(&Job { key, work: Arc::new(move || email.read(&bytes, now)) }).await {
        Ok(read) => read,
        Err(error) => return later(&error),
    };
    match store(ingest, &handover.email, opened(&handover.email, &mail, read), &mail).await {
        Ok(()) => Settled::Durable,
        Err(LogError::Full(_)) => Settled::Full,
        Err(error) => later(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::{Faults, MemoryLog, MemoryOptions, Room};
    use switchboard_email::EmailConfig;
    use switchboard_email::delivery::Protocol;

    /// What the client is told of one mail, and what IN has then.
    #[tokio::test]
    async fn a_mail_is_accepted_once_it_is_stored_and_not_before() {
        let log = MemoryLog::new(&MemoryOptions::default());
        let ingest = Ingest { log: Arc::new(log.clone()), metrics: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer = IpAddr::from([127, 0, 0, 1]);
        let listen = listener.local_addr().expect("an address");
        let delivery = Delivery { listen, protocol: Protocol::Lmtp, peers: vec![peer] };
        let config = EmailConfig {
            address: "us@shop.example".into(),
            name: None,
            ours: vec!["us@shop.example".into()],
            plus_addresses: true,
            reply_line: false,
            html: true,
            trusted: vec![],
            boundary: vec![],
            max_mail: 1024,
            imap: None,
            delivery: Some(delivery.clone()),
            smtp: None,
            reply_all: false,
            dkim: None,
        };
        let email = Arc::new(Email::new("mail", config, &[1; 32]));
        let handover = Handover { channel: "mail".into(), email, delivery, listener };
        let guard = Guard::new(ingest.log.clone(), "reading.delivery.mail".into(), Careful::For(CAREFUL));
        let hand = async |text: &str| {
            let mail = format!("From: ann@x.example\r\nMessage-ID: <{text}@x>\r\n\r\n{text}\r\n");
            let to = vec!["us@shop.example".to_owned()];
            let delivered =
                Delivered { from: "ann@x.example".into(), to, helo: "x.example".into(), mail: mail.into_bytes() };
            keep(&handover, &guard, &ingest, delivered, peer).await
        };
        log.set_room(Room::ForVital);
        assert_eq!((hand("full").await, log.everything_in().len()), (Settled::Full, 0));
        log.set_room(Room::Enough);
        log.set_faults(Faults { request_lost: 1000, ..Faults::default() });
        assert_eq!((hand("lost").await, log.everything_in().len()), (Settled::Later, 0));
        log.set_faults(Faults::default());
        assert_eq!((hand("stored").await, log.everything_in().len()), (Settled::Durable, 1));
    }
}
