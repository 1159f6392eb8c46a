use crate::Dice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A network that dies: each connection ends after so many bytes as the dice say, of both directions together, in the middle of
/// whatever they are. Neither end says that it leaves.
#[derive(Debug)]
pub struct Frayed {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    whole: watch::Sender<bool>,
    _accepting: JoinHandle<()>,
}

impl Frayed {
    /// To a port of this machine. A connection has at least `least` bytes and at most as many more.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn to(port: u16, mut dice: Dice, least: u64, more: u64) -> Frayed {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (cuts, whole) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(false));
        let (counted, mended) = (cuts.clone(), whole.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let bytes = i64::try_from(least + dice.below(more)).expect("a number of bytes");
                let (counted, mended) = (counted.clone(), mended.subscribe());
                tokio::spawn(async move {
                    // A server that is down is away behind this network, too.
                    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    if pass(client, server, bytes, mended).await {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Frayed { address, cuts, whole, _accepting: accepting }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections it has cut.
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }

    /// From now on it cuts none.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

/// Whether it was cut.
async fn pass(client: TcpStream, server: TcpStream, bytes: i64, mended: watch::Receiver<bool>) -> bool {
    let left = AtomicI64::new(bytes);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        cut = one_way(from_client, to_server, &left, &mended) => cut,
        cut = one_way(from_server, to_client, &left, &mended) => cut,
    }
}

async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    left: &AtomicI64,
    mended: &watch::Receiver<bool>,
) -> bool {
    let mut buffer = [0; 4096];
    while let Ok(n) = from.read(&mut buffer).await {
        let whole = *mended.borrow();
        let may = if whole { n } else { n.min(usize::try_from(left.load(Ordering::SeqCst)).unwrap_or(0)) };
        left.fetch_sub(i64::try_from(n).unwrap_or(0), Ordering::SeqCst);
        if n == 0 || to.write_all(&buffer[..may]).await.is_err() {
            return false;
        }
        if may < n {
            return true;
        }
    }
    false
}
