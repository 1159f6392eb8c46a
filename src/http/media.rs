//! `/media/<link>`: files of ours that a provider fetches, because it takes addresses only.
//!
//! A link is sealed: it names a file without showing whose it is, opens for a day, and nobody but this workspace can make one.

use crate::http::api::FileLinks;
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
    base: String,
    made: Made,
}

/// Whose links they are.
enum Made {
    /// Of files of ours that a provider fetches.
    Sealed(SealKey),
    /// Of customers' files that a desk is told of, which open where the console is reached: they are the API's own. Nothing where
    /// nobody knows where that is.
    Desk(Option<Box<FileLinks>>),
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
        let base = format!("{}/media", public_url.trim_end_matches('/'));
        Links { base, made: Made::Sealed(SealKey::new(key)) }
    }

    /// For what a desk gets: `console` is where people of ours reach the console and with it the API.
    #[must_use]
    pub fn of_desk(files: FileLinks, console: Option<&str>) -> Links {
        let base = console.unwrap_or_default().trim_end_matches('/').to_owned();
        Links { base, made: Made::Desk(console.map(|_| Box::new(files))) }
    }

    /// The send with an address for each of its files.
    #[must_use]
    pub fn fill(&self, send: &Send) -> Send {
        let mut filled = send.clone();
        if let Made::Desk(links) = &self.made {
            // What has no address is told in the words of the notice.
            filled.content.attachments.retain_mut(|file| {
                let link = file.url.as_deref().and_then(|path| links.as_ref()?.of_path(path, clock::now()));
                file.url = link.map(|link| format!("{}{link}", self.base));
                file.url.is_some()
            });
            return filled;
        }
        for file in filled.content.attachments.iter_mut().filter(|file| file.url.is_none()) {
            let Some(BlobRef(blob)) = file.blob.clone() else { continue };
            let ends = clock::now().plus(LIFE_MS);
            // A link that cannot be made leaves the file without one, and the adapter says so.
            file.url = self.link(&(ends.0, send.channel.clone(), send.thread.clone(), blob, file.mime.clone()));
        }
        filled
    }

    fn link(&self, named: &Named) -> Option<String> {
        let Made::Sealed(key) = &self.made else { return None };
        let sealed = key.seal(AAD, &rmp_serde::to_vec(named).ok()?).ok()?;
        Some(format!("{}/{}", self.base, URL_SAFE_NO_PAD.encode(sealed)))
    }

    fn open(&self, link: &str, now: Timestamp) -> Result<Named, Shut> {
        let sealed = Some(link).filter(|l| l.len() <= LINK_MAX).and_then(|l| URL_SAFE_NO_PAD.decode(l).ok());
        let Made::Sealed(key) = &self.made else { return Err(Shut::NotOurs) };
        let plain = key.open(AAD, &sealed.ok_or(Shut::NotOurs)?).map_err(|_| Shut::NotOurs)?;
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
    fn what_a_desk_is_told_of_opens_at_the_console_and_nothing_else_does() {
        use switchboard_envelope::{Address, Attachment, Author, Content};
        let file = |url: Option<&str>| Attachment { url: url.map(Into::into), ..Attachment::default() };
        let of = [Some("/messages/m1/attachments/2"), Some("https://evil.example/x"), Some("/agents"), None];
        let send = Send {
            send: "m2".into(),
            part: 1,
            n: 1,
            until: Timestamp(0),
            channel: "team".into(),
            conversation: "c1".into(),
            thread: "c1".into(),
            to: Address::new("desk", "team"),
            content: Content { attachments: of.map(file).to_vec(), ..Content::text("look") },
            author: Author::Auto { rule: "Bank".into() },
            reply_to: vec![],
            traceparent: None,
            mail: None,
            window_until: None,
        };
        let files = FileLinks::new(&[7; 32]);
        let filled = Links::of_desk(files.clone(), Some("https://desk.shop.example/")).fill(&send);
        let urls: Vec<&str> = filled.content.attachments.iter().filter_map(|file| file.url.as_deref()).collect();
        let begins = "https://desk.shop.example/api/v1/messages/m1/attachments/2?until=";
        assert!(matches!(urls.as_slice(), [url] if url.starts_with(begins) && url.contains("&signature=")), "{urls:?}");
        let nowhere = Links::of_desk(files, None);
        assert!(nowhere.fill(&send).content.attachments.is_empty());
        assert_eq!(nowhere.open("AAAA", Timestamp(0)), Err(Shut::NotOurs));
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
