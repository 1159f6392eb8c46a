use crate::Options;
use crate::floor::ENOUGH;
use async_nats::Client;
use bytes::Bytes;
use serde_json::{Value, json};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What the broker does without Switchboard.
pub struct Raw {
    /// Publishes a second into one file stream, each waiting for its acknowledgement, 256 at once over one connection.
    pub publishes: f64,
}

const AT_ONCE: usize = 256;
/// About what one SMS weighs as an envelope.
const RECORD: usize = 900;

/// `None` where there is no broker.
pub async fn measure(options: &Options) -> Result<Option<Raw>, Box<dyn Error>> {
    let on = options.backend.start();
    let Some(url) = on.url() else { return Ok(None) };
    let client = async_nats::connect(url).await?;
    let stream = json!({ "name": "RAW", "subjects": ["raw"], "storage": "file" }).to_string();
    accepted(&client, "$JS.API.STREAM.CREATE.RAW", stream.into()).await?;
    let count = options.messages.min(ENOUGH);
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, next) = (client.clone(), next.clone());
        publishers.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < count {
                accepted(&client, "raw", Bytes::from(vec![b'x'; RECORD])).await.map_err(|e| e.to_string())?;
            }
            Ok::<(), String>(())
        });
    }
    while let Some(done) = publishers.join_next().await {
        done??;
    }
    Ok(Some(Raw { publishes: count as f64 / began.elapsed().as_secs_f64() }))
}

/// Asks JetStream, whose answers say themselves whether they are errors.
async fn accepted(client: &Client, subject: &'static str, body: Bytes) -> Result<(), Box<dyn Error>> {
    let answer = client.request(subject, body).await?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    match answer.get("error") {
        None => Ok(()),
        Some(error) => Err(format!("the broker refused: {error}").into()),
    }
}
