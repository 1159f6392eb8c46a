//! `/media/<link>`: files of ours that a provider fetches, because it takes addresses only.
//!
//! A link is sealed: it names a file without showing whose it is, opens for a day, and nobody but this workspace can make one.

use crate::log::seal::SealKey;
use crate::log::{Log, LogError};
use crate::{clock, inbound::blob_scope};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, StatusCode, header};
use std::sync::Arc;
use switchboard_envelope::{BlobRef, Send, Timestamp};

/// How long a link opens, in milliseconds: longer than a provider holds a message.
const LIFE_MS: i64 = 24 * 3_600_000;
const AAD: &[u8] = b"media-1";
/// The longest link that is looked at.
const LINK_MAX: usize = 4096;

/// What a link stands for: when it ends, the channel, the thread, the blob, and the media type.
type Named = (i64, String, String, String, String);

/// Makes and opens links.
pub struct Links {
    key: SealKey,
    base: String,
}

/// Why a link does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shut {
    NotOurs,
    Expired,
}

impl Links {
    /// `public_url` is the address under which providers reach the public listener.
    #[must_use]
    pub fn new(key: &[u8; 32], public_url: &str) -> Links {
        Links { key: SealKey::new(key), base: format!("{}/media", public_url.trim_end_matches('/')) }
    }

    /// The send with an address for each of its stored files.
    #[must_use]
    pub fn fill(&self, send: &Send) -> Send {
        let mut filled = send.clone();
        for file in filled.content.attachments.iter_mut().filter(|file| file.url.is_none()) {
            let Some(BlobRef(blob)) = file.blob.clone() else { continue };
            let ends = clock::now().plus(LIFE_MS);
            // A link that cannot be made leaves the file without one, and the adapter says so.
            file.url = self.link(&(ends.0, send.channel.clone(), send.thread.clone(), blob, file.mime.clone()));
        }
        filled
    }

    fn link(&self, named: &Named) -> Option<String> {
        let sealed = self.key.seal(AAD, &rmp_serde::to_vec(named).ok()?).ok()?;
        Some(format!("{}/{}", self.base, URL_SAFE_NO_PAD.encode(sealed)))
    }

    fn open(&self, link: &str, now: Timestamp) -> Result<Named, Shut> {
        let sealed = Some(link).filter(|l| l.len() <= LINK_MAX).and_then(|l| URL_SAFE_NO_PAD.decode(l).ok());
        let plain = self.key.open(AAD, &sealed.ok_or(Shut::NotOurs)?).map_err(|_| Shut::NotOurs)?;
        let named: Named = rmp_serde::from_slice(&plain).map_err(|_| Shut::NotOurs)?;
        if now.0 < named.0 { Ok(named) } else { Err(Shut::Expired) }
    }
}

struct Media {
    links: Arc<Links>,
    log: Arc<dyn Log>,
}

/// The routes of the public listener from which providers fetch files.
pub fn routes(links: Arc<Links>, log: Arc<dyn Log>) -> Router {
    Router::new().route("/media/{link}", get(file)).with_state(Arc::new(Media { links, log }))
}

async fn file(State(media): State<Arc<Media>>, Path(link): Path<String>) -> Response {
    match media.links.open(&link, clock::now()) {
        Ok(named) => serve(&media, named).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a file could not be read for a provider");
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")]).into_response()
        }),
        Err(Shut::NotOurs) => StatusCode::NOT_FOUND.into_response(),
        Err(Shut::Expired) => StatusCode::GONE.into_response(),
    }
}

async fn serve(media: &Media, named: Named) -> Result<Response, LogError> {
    let (_, channel, thread, blob, mime) = named;
    let Some(bytes) = media.log.get_blob(&blob_scope(&channel, &thread), &BlobRef(blob)).await? else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let mime = HeaderValue::from_str(&mime).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let fixed: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (header::CACHE_CONTROL, "private, no-store"),
        (header::CONTENT_DISPOSITION, "attachment"),
    ];
    Ok((fixed, [(header::CONTENT_TYPE, mime)], bytes).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(key: u8) -> Links {
        Links::new(&[key; 32], "https://hooks.shop.example/")
    }

    #[test]
    fn a_link_opens_until_it_ends_and_only_here() {
        let named =
            (1000, "sms".to_owned(), "+15551230001".to_owned(), "blob:sha256:00".to_owned(), "image/png".to_owned());
        let url = links(1).link(&named).unwrap();
        let link = url.strip_prefix("https://hooks.shop.example/media/").expect("under the public address");
        assert!(!url.contains("5551230001"), "the customer's number is not in the address");
        assert_eq!(links(1).open(link, Timestamp(999)), Ok(named));
        assert_eq!(links(1).open(link, Timestamp(1000)), Err(Shut::Expired));
        assert_eq!(links(2).open(link, Timestamp(0)), Err(Shut::NotOurs), "another workspace's");
        for i in 0..link.len() {
            let mut changed = link.as_bytes().to_vec();
            changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(links(1).open(&changed, Timestamp(0)), Err(Shut::NotOurs), "{i}");
        }
        for other in ["", "!", &"A".repeat(5000), "AAAA"] {
            assert_eq!(links(1).open(other, Timestamp(0)), Err(Shut::NotOurs));
        }
    }
}
