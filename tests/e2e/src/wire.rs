//! Just enough HTTP/1.1 for both ends of a test: whole messages with a content length, over connections kept open. A real
//! client or server hides what goes wrong on the wire, and takes the processor time that the benchmark measures.

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Reads whole messages from a connection, one after the other.
#[derive(Debug, Default)]
pub struct Messages {
    buffer: Vec<u8>,
    /// The length of the message that was returned last.
    used: usize,
}

impl Messages {
    #[must_use]
    pub fn new() -> Messages {
        Messages::default()
    }

    /// The next message, head and body; `None` when the other side closed between two messages.
    ///
    /// # Errors
    /// When the connection breaks in the middle of a message, or what comes is none.
    pub async fn next(&mut self, stream: &mut TcpStream) -> io::Result<Option<&[u8]>> {
        self.buffer.drain(..self.used);
        self.used = 0;
        loop {
            if let Some(length) = whole(&self.buffer)? {
                self.used = length;
                return Ok(Some(&self.buffer[..length]));
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }
}

/// The length of the first message in `bytes`, if all of it is there.
fn whole(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(head) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let body = content_length(&bytes[..head])?;
    let length = head + 4 + body;
    Ok((bytes.len() >= length).then_some(length))
}

fn content_length(head: &[u8]) -> io::Result<usize> {
    for line in head.split(|b| *b == b'\n') {
        if let Some((name, value)) = line.split_once_at(b':')
            && name.eq_ignore_ascii_case(b"content-length")
        {
            let value = std::str::from_utf8(value).map_err(io::Error::other)?;
            return value.trim().parse().map_err(io::Error::other);
        }
    }
    Ok(0)
}

trait SplitOnceAt {
    fn split_once_at(&self, at: u8) -> Option<(&[u8], &[u8])>;
}

impl SplitOnceAt for [u8] {
    fn split_once_at(&self, at: u8) -> Option<(&[u8], &[u8])> {
        let i = self.iter().position(|b| *b == at)?;
        Some((&self[..i], &self[i + 1..]))
    }
}

/// Where `needle` first is in `bytes`.
#[must_use]
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// A connection that asks one thing at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    messages: Messages,
}

impl Connection {
    /// # Errors
    /// When nobody listens there.
    pub async fn open(address: std::net::SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, messages: Messages::new() })
    }

    /// Sends a request and returns the status of its answer.
    ///
    /// # Errors
    /// When the connection breaks before the whole answer is there.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        let Some(answer) = self.messages.next(&mut self.stream).await? else {
            return Err(io::ErrorKind::ConnectionReset.into());
        };
        let status = answer.get(9..12).and_then(|s| std::str::from_utf8(s).ok()).and_then(|s| s.parse().ok());
        status.ok_or_else(|| io::Error::other("an answer without a status"))
    }
}
