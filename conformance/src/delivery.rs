//! One request of the provider to the adapter: plain HTTP/1.1, because nothing but its status matters.

use crate::plan::Deliver;
use std::net::SocketAddr;
use std::time::Duration;
use switchboard_envelope::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long the provider waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
const MAX_ANSWER: u64 = 64 * 1024;

/// What a person wrote, as the provider tells it.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// The provider's id.
    pub id: String,
    pub text: String,
    pub at: Timestamp,
}

/// How the request proves where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof<'a> {
    Genuine,
    /// The right signature of another body.
    Of(&'a str),
    /// The proof of somebody who does not know the secret.
    Forged,
    Missing,
}

impl Deliver {
    pub(crate) fn fill(&self, template: &str, said: &Said) -> String {
        let value = |text: &str| self.encode.value(text);
        template
            .replace("{id}", &value(&said.id))
            .replace("{person}", &value(&self.person))
            .replace("{at}", &value(&said.at.to_string()))
            .replace("{at_s}", &(said.at.0 / 1000).to_string())
            .replace("{text}", &value(&said.text))
    }

    fn headers(&self, body: &[u8], proof: Proof<'_>) -> Vec<(String, String)> {
        let mut headers: Vec<(String, String)> =
            self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some(token) = &self.token {
            headers.retain(|(name, _)| name != token || proof != Proof::Missing);
            for (name, value) in &mut headers {
                if name == token && proof == Proof::Forged {
                    "not-the-secret".clone_into(value);
                }
            }
        }
        if let Some(sign) = &self.sign {
            let mut signing = sign.clone();
            if proof == Proof::Forged {
                signing.secret.push('x');
            }
            let signed = if let Proof::Of(other) = proof { other.as_bytes() } else { body };
            if proof != Proof::Missing {
                headers.push((sign.header.clone(), signing.value(signed)));
            }
        }
        headers
    }

    /// The status of the answer.
    pub(crate) async fn post(&self, to: SocketAddr, body: String, proof: Proof<'_>) -> Result<u16, String> {
        let asked = tokio::time::timeout(PATIENCE, self.exchange(to, body.as_bytes(), proof)).await;
        asked.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
    }

    async fn exchange(&self, to: SocketAddr, body: &[u8], proof: Proof<'_>) -> Result<u16, String> {
        let broken = |e: std::io::Error| format!("the connection to {to} broke: {e}");
        let mut stream = TcpStream::connect(to).await.map_err(|e| format!("nobody listens at {to}: {e}"))?;
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.method,
            self.path,
            body.len()
        );
        for (name, value) in self.headers(body, proof) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.map_err(broken)?;
        stream.write_all(body).await.map_err(broken)?;
        let mut answer = vec![];
        let read = stream.take(MAX_ANSWER).read_to_end(&mut answer).await;
        let status = std::str::from_utf8(answer.get(..12).unwrap_or_default())
            .ok()
            .and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok());
        match (status, read) {
            (Some(status), _) => Ok(status),
            (None, Err(e)) => Err(broken(e)),
            (None, Ok(_)) => Err("the connection was closed without an answer".into()),
        }
    }
}
