use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where a [`Cable`] holds what goes to the broker, when it comes by.
#[derive(Clone, Debug)]
pub enum Cut {
    /// The broker does not get it.
    Before(String),
    /// The broker gets it, and its answer does not arrive.
    After(String),
}

impl Cut {
    fn text(&self) -> &str {
        match self {
            Cut::Before(text) | Cut::After(text) => text,
        }
    }
}

/// A connection to the broker that is cut at a step of the protocol: from then on nothing passes in either direction, and
/// whoever is at its end can be killed exactly there.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    cut: Arc<watch::Sender<bool>>,
    _accepting: JoinHandle<()>,
}

impl Cable {
    /// To the broker at `url`, cut when `at` comes by.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn to(url: &str, at: Cut) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let target = url.trim_start_matches("nats://").to_owned();
        let cut = Arc::new(watch::Sender::new(false));
        let said = cut.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                tokio::spawn(pass(client, server, at.clone(), said.clone()));
            }
        });
        Cable { address, cut, _accepting: accepting }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Whether it was cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        *self.cut.borrow()
    }
}

/// A connection to the broker that can be cut and restored, again and again.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    up: watch::Sender<bool>,
    _accepting: JoinHandle<()>,
}

impl Line {
    /// To the broker at `url`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn to(url: &str) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let target = url.trim_start_matches("nats://").to_owned();
        let up = watch::Sender::new(true);
        let ups = up.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (target, mut up) = (target.clone(), ups.subscribe());
                tokio::spawn(async move {
                    // While it is cut a new connection ends at once.
                    if !*up.borrow_and_update() {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(&target).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = up.wait_for(|up| !*up) => {}
                    }
                });
            }
        });
        Line { address, up, _accepting: accepting }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Cuts every connection, and lets none through until it is restored.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    pub fn restore(&self) {
        self.up.send_replace(true);
    }
}

async fn pass(client: TcpStream, server: TcpStream, at: Cut, cut: Arc<watch::Sender<bool>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(n) = from_server.read(&mut buffer).await {
            if n == 0 || to_client.write_all(&buffer[..n]).await.is_err() {
                return;
            }
        }
    };
    let questions = async {
        let mut buffer = [0; 64 * 1024];
        // What is looked for may be split between two reads.
        let mut tail: Vec<u8> = vec![];
        while let Ok(n) = from_client.read(&mut buffer).await {
            if n == 0 {
                return false;
            }
            tail.extend_from_slice(&buffer[..n]);
            let found = tail.windows(at.text().len()).any(|w| w == at.text().as_bytes());
            let held = *cut.borrow() || (found && matches!(at, Cut::Before(_)));
            if held || to_server.write_all(&buffer[..n]).await.is_err() || found {
                return held || found;
            }
            tail.drain(..tail.len().saturating_sub(at.text().len()));
        }
        false
    };
    let mut cuts = cut.subscribe();
    tokio::select! {
        () = answers => return,
        found = questions => if !found { return },
        _ = cuts.wait_for(|cut| *cut) => {}
    }
    cut.send_replace(true);
    // Nothing passes any more; that the client died is still seen at the other end.
    let mut nowhere = [0; 16 * 1024];
    while matches!(from_client.read(&mut nowhere).await, Ok(n) if n > 0) {}
}
