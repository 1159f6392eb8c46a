//! A provider for the benchmark: it takes every message at once, and does as little as possible, for it shares the machine
//! with what is measured.

use crate::http::find;
use bytes::{Buf as _, BytesMut};
use std::{
    io,
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

type OnBody = dyn Fn(&[u8]) + Send + Sync;

/// Answers every request with 201 and a sid of its own. It stops when it is dropped.
pub struct FastStub {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    count: AtomicU64,
    wanted: AtomicU64,
    reached: Notify,
    on_body: Box<OnBody>,
}

impl FastStub {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<FastStub> {
        FastStub::start_with(|_| {}).await
    }

    /// As [`FastStub::start`], and shows each request's body before it is answered.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start_with(on_body: impl Fn(&[u8]) + Send + Sync + 'static) -> io::Result<FastStub> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            count: AtomicU64::new(0),
            wanted: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
            on_body: Box::new(on_body),
        });
        let state = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, state.clone()));
            }
        });
        Ok(FastStub { address, shared, task })
    }

    /// What to configure as `base_url`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests answered so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Acquire)
    }

    /// Waits until `n` requests were answered; false when the limit came first. One waiter at a time.
    pub async fn wait_for(&self, n: u64, limit: Duration) -> bool {
        self.shared.wanted.store(n, Ordering::Release);
        let reached = async {
            while self.count() < n {
                self.shared.reached.notified().await;
            }
        };
        tokio::time::timeout(limit, reached).await.is_ok()
    }
}

impl Drop for FastStub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let (mut input, mut output) = (BytesMut::with_capacity(8192), Vec::with_capacity(1024));
    loop {
        while let Some((body, end)) = whole_request(&input) {
            if let Some(body) = input.get(body..end) {
                (shared.on_body)(body);
            }
            input.advance(end);
            let n = shared.count.fetch_add(1, Ordering::AcqRel) + 1;
            answer(&mut output, n);
            if n >= shared.wanted.load(Ordering::Acquire) {
                shared.reached.notify_one();
            }
        }
        if !output.is_empty() {
            if stream.write_all(&output).await.is_err() {
                return;
            }
            output.clear();
        }
        if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn answer(output: &mut Vec<u8>, n: u64) {
    // The sid has 34 characters, so the length of the body is fixed.
    let head = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 62\r\n\r\n";
    let _ = write!(output, "{head}{{\"sid\":\"SM{n:032x}\",\"status\":\"queued\"}}");
}

/// Where the body of the first request begins and ends, if all of it has come.
fn whole_request(input: &[u8]) -> Option<(usize, usize)> {
    let head = find(input, b"\r\n\r\n")?;
    let mut length = 0;
    for line in input.get(..head)?.split(|b| *b == b'\n') {
        let name = b"content-length:";
        if line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            length = std::str::from_utf8(line.get(name.len()..)?).ok()?.trim().parse().ok()?;
        }
    }
    let (body, end) = (head + 4, head.checked_add(4)?.checked_add(length)?);
    (input.len() >= end).then_some((body, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canned_answer_has_the_length_that_it_names() {
        for n in [1, u64::MAX] {
            let mut output = vec![];
            answer(&mut output, n);
            let at = find(&output, b"\r\n\r\n").unwrap();
            assert_eq!(output.len() - at - 4, 62);
        }
    }

    #[test]
    fn a_request_is_whole_when_its_body_is() {
        let request = b"POST / HTTP/1.1\r\nContent-Length: 3\r\nx: y\r\n\r\nabcPOST";
        assert_eq!(whole_request(request), Some((44, 47)));
        assert_eq!(whole_request(&request[..46]), None);
        assert_eq!(whole_request(b"GET / HTTP/1.1\r\n\r\n"), Some((18, 18)));
        assert_eq!(whole_request(b"GET / HTTP/1.1\r\n"), None);
    }

    #[tokio::test]
    async fn every_request_is_counted_and_answered() {
        let stub = FastStub::start().await.unwrap();
        for n in 1..=3 {
            let mut stream = TcpStream::connect(stub.address).await.unwrap();
            stream.write_all(b"POST /x HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
            let mut answer = vec![0; 76 + 62];
            stream.read_exact(&mut answer).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 201 "));
            assert_eq!(stub.count(), n);
        }
        assert!(stub.wait_for(3, Duration::from_secs(5)).await);
        assert!(!stub.wait_for(4, Duration::from_millis(20)).await);
    }
}
