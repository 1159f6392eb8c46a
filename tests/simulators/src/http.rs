//! As much HTTP/1.1 as a simulator needs, on the bare socket: only so can it break off anywhere.

use bytes::{Buf as _, Bytes, BytesMut};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use url::Url;

const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 16 * 1024 * 1024;

/// A request as it was read.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Without `?`, still encoded.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Request {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// An answer to be written.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Answer {
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Answer {
        Answer { status, headers: vec![("content-type".into(), content_type.into())], body: body.into() }
    }

    #[must_use]
    pub fn json(status: u16, body: &serde_json::Value) -> Answer {
        Answer::new(status, "application/json", body.to_string())
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A connection of a client to us.
pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    #[must_use]
    pub fn new(stream: TcpStream) -> Connection {
        // Without it small answers wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        Connection { stream, buffer: BytesMut::with_capacity(4096) }
    }

    /// Waits until the client has begun its next request; false when it has closed instead. Nothing is read yet.
    pub async fn has_begun(&mut self) -> bool {
        !self.buffer.is_empty() || self.stream.peek(&mut [0]).await.is_ok_and(|n| n > 0)
    }

    /// The next request; `None` when the client has closed.
    ///
    /// # Errors
    /// When what comes is no request.
    pub async fn read(&mut self) -> io::Result<Option<Request>> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(invalid("the head is too long"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(invalid("the head broke off")) };
            }
        };
        let head = String::from_utf8_lossy(&self.buffer.split_to(end)).into_owned();
        self.buffer.advance(4);
        let mut request = parse_head(&head)?;
        let length = match request.header("content-length") {
            Some(length) => length.parse().map_err(|_| invalid("content-length is not a number"))?,
            None if request.header("transfer-encoding").is_some() => {
                return Err(invalid("chunked requests are not read"));
            }
            None => 0,
        };
        if length > MAX_BODY {
            return Err(invalid("the body is too long"));
        }
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(invalid("the body broke off"));
            }
        }
        request.body = self.buffer.split_to(length).freeze();
        Ok(Some(request))
    }

    /// Writes an answer and keeps the connection.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn write(&mut self, answer: &Answer) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} -\r\ncontent-length: {}\r\n", answer.status, answer.body.len());
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.stream.write_all(&[head.as_bytes(), &answer.body].concat()).await
    }

    /// Breaks the connection with a reset instead of an orderly end.
    pub fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }
}

fn parse_head(head: &str) -> io::Result<Request> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1")) = (first.next(), first.next(), first.next()) else {
        return Err(invalid("not a request line of HTTP/1.1"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = lines.filter_map(|line| line.split_once(':'));
    Ok(Request {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect(),
        body: Bytes::new(),
    })
}

/// Makes a request to an `http://` address and reads the whole answer.
///
/// # Errors
/// When there is no whole answer within the limit.
pub async fn call(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> io::Result<Answer> {
    let url = Url::parse(url).map_err(|_| invalid("not a URL"))?;
    let (Some(host), "http") = (url.host_str(), url.scheme()) else { return Err(invalid("not an http:// URL")) };
    let address = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = format!(
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\nconnection: close\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(&[request.as_bytes(), body].concat()).await?;
        let mut answer = BytesMut::new();
        while !is_whole(&answer) && stream.read_buf(&mut answer).await? > 0 {}
        parse_answer(&answer)
    };
    timeout(limit, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Whether all of an answer that names its length has come; others end with the connection.
fn is_whole(answer: &[u8]) -> bool {
    let length = parse_answer(answer).ok().and_then(|answer| {
        let (_, length) = answer.headers.iter().find(|(name, _)| name == "content-length")?;
        Some(answer.body.len() >= length.parse().ok()?)
    });
    length.unwrap_or(false)
}

fn parse_answer(answer: &[u8]) -> io::Result<Answer> {
    let end = find(answer, b"\r\n\r\n").ok_or_else(|| invalid("the answer broke off"))?;
    let (head, body) = answer.split_at(end);
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    Ok(Answer {
        status: status.ok_or_else(|| invalid("no status"))?,
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect(),
        body: Bytes::copy_from_slice(body.get(4..).unwrap_or_default()),
    })
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
