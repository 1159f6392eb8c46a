use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(10);

/// One question to JetStream's API, as `STREAM.INFO.SB_main_LOG`, over a connection of its own: what an operator does with `nats`.
///
/// # Panics
/// When the broker does not answer, or refuses.
pub async fn jetstream(url: &str, question: &str, body: &Value) -> Value {
    let answer = jetstream_says(url, question, body).await;
    assert!(answer["error"].is_null(), "{question}: {answer}");
    answer
}

/// The same where a refusal is an answer too.
///
/// # Panics
/// When the broker does not answer.
pub async fn jetstream_says(url: &str, question: &str, body: &Value) -> Value {
    let answer = tokio::time::timeout(PATIENCE, ask(url, question, body)).await;
    answer.expect("an answer in time").unwrap_or_else(|e| panic!("{question}: {e}"))
}

/// Puts a value under a key of a bucket, as who writes it by hand does.
///
/// # Panics
/// When the broker does not take it.
pub async fn put_value(url: &str, bucket: &str, key: &str, value: &str) {
    let stored = tokio::time::timeout(PATIENCE, request(url, &format!("$KV.{bucket}.{key}"), value)).await;
    let stored = stored.expect("an answer in time").unwrap_or_else(|e| panic!("{key}: {e}"));
    assert!(stored["seq"].is_u64(), "{stored}");
}

async fn ask(url: &str, question: &str, body: &Value) -> std::io::Result<Value> {
    request(url, &format!("$JS.API.{question}"), &body.to_string()).await
}

async fn request(url: &str, subject: &str, body: &str) -> std::io::Result<Value> {
    let address = url.trim_start_matches("nats://");
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    let said = format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{body}\r\n",
        body.len()
    );
    stream.write_all(said.as_bytes()).await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line.starts_with("-ERR") {
            return Err(std::io::Error::other(line));
        }
        if let Some(size) = line.strip_prefix("MSG answer 1 ") {
            let size = size.trim().parse().map_err(std::io::Error::other)?;
            let mut answer = vec![0; size];
            stream.read_exact(&mut answer).await?;
            return serde_json::from_slice(&answer).map_err(std::io::Error::other);
        }
    }
}
