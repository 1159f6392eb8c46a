//! Reading bodies: at most so many bytes, in at most so long, and all of them together in so much memory.

use super::problem::Problem;
use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The memory that bodies of strangers may take together, in bytes. What has arrived counts, and not what was announced:
/// a connection that sends nothing takes nothing.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

/// What all bodies of one kind may take.
const ROOM: usize = 64 << 20;

impl Room {
    /// 64 MiB, or as much as the longest body may have.
    #[must_use]
    pub fn for_bodies_of(limit: usize) -> Room {
        Room::new(ROOM.max(limit))
    }

    #[must_use]
    pub fn new(bytes: usize) -> Room {
        Room(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Cut> {
        let bytes = u32::try_from(bytes).map_err(|_| Cut::NoRoom)?;
        Arc::clone(&self.0).try_acquire_many_owned(bytes).map_err(|_| Cut::NoRoom)
    }
}

/// What one body may be.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    pub bytes: usize,
    /// For all of it.
    pub within: Duration,
    /// Between two pieces of it.
    pub pause: Duration,
}

impl BodyLimits {
    #[must_use]
    pub fn new(bytes: usize, within: Duration) -> BodyLimits {
        BodyLimits { bytes, within, pause: within }
    }
}

/// Why there is no whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    TooLarge,
    TooSlow,
    BrokeOff,
    /// The bodies that are being read already take all the memory that they may.
    NoRoom,
}

/// A whole body, and its place among all of them for as long as this lives.
#[derive(Debug, Default)]
pub struct WholeBody {
    pub bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

/// Reads a whole body; in `room`, if there is one.
///
/// # Errors
/// When it is not whole within its limits. A body whose declared length is too large is not read at all.
pub async fn read(headers: &HeaderMap, body: Body, limits: BodyLimits, room: Option<&Room>) -> Result<WholeBody, Cut> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|n| n > limits.bytes as u64) {
        return Err(Cut::TooLarge);
    }
    timeout(limits.within, gather(body, limits, room)).await.unwrap_or(Err(Cut::TooSlow))
}

async fn gather(body: Body, limits: BodyLimits, room: Option<&Room>) -> Result<WholeBody, Cut> {
    let mut pieces = body.into_data_stream();
    // A copy, so that a piece does not keep the connection's whole buffer while the next one is waited for.
    let mut bytes = vec![];
    let mut place: Option<OwnedSemaphorePermit> = None;
    while let Some(piece) = timeout(limits.pause, pieces.next()).await.map_err(|_| Cut::TooSlow)? {
        let piece = piece.map_err(|_| Cut::BrokeOff)?;
        if piece.len() > limits.bytes - bytes.len() {
            return Err(Cut::TooLarge);
        }
        if let Some(taken) = room.map(|room| room.take(piece.len())).transpose()? {
            match &mut place {
                Some(place) => place.merge(taken),
                None => place = Some(taken),
            }
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(WholeBody { bytes: bytes.into(), _place: place })
}

/// Reads a whole body of somebody whom we know.
///
/// # Errors
/// 413 when it is longer than `limit`; 408 when it does not come in time; 400 when it breaks off.
pub(super) async fn read_body(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    match read(headers, body, BodyLimits::new(limit, timeout), None).await {
        Ok(read) => Ok(read.bytes),
        Err(Cut::TooLarge) => Err(Problem::too_large(limit)),
        Err(Cut::BrokeOff) => Err(Problem::bad("body_cut", "the body broke off")),
        Err(Cut::TooSlow) => {
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_slow", "the body did not come in time"))
        }
        Err(Cut::NoRoom) => Err(Problem::unavailable("busy", "too many bodies are being read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::convert::Infallible;

    const LIMITS: BodyLimits =
        BodyLimits { bytes: 10, within: Duration::from_secs(60), pause: Duration::from_secs(10) };

    /// A body of these pieces that then ends, or does not.
    fn body(pieces: &[&'static str], ends: bool) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|p| Ok::<_, Infallible>(Bytes::from_static(p.as_bytes()))).collect();
        let rest = if ends { stream::empty().left_stream() } else { stream::pending().right_stream() };
        Body::from_stream(stream::iter(pieces).chain(rest))
    }

    async fn cut(body: Body, room: Option<&Room>) -> Option<Cut> {
        read(&HeaderMap::new(), body, LIMITS, room).await.err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_cut_at_its_length_its_time_and_its_pauses() {
        let whole = read(&HeaderMap::new(), body(&["01234", "56789"], true), LIMITS, None).await.unwrap();
        assert_eq!(whole.bytes, "0123456789");
        assert_eq!(cut(body(&["01234", "567890"], false), None).await, Some(Cut::TooLarge));
        let declared = HeaderMap::from_iter([(header::CONTENT_LENGTH, http::HeaderValue::from_static("11"))]);
        assert_eq!(read(&declared, body(&[], false), LIMITS, None).await.err(), Some(Cut::TooLarge));
        let begun = tokio::time::Instant::now();
        assert_eq!(cut(body(&["01234"], false), None).await, Some(Cut::TooSlow));
        assert_eq!(begun.elapsed(), LIMITS.pause);
        let drips = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b"0")), ()))
        });
        let begun = tokio::time::Instant::now();
        assert_eq!(cut(Body::from_stream(drips), None).await, Some(Cut::TooSlow));
        assert_eq!(begun.elapsed(), LIMITS.within);
        let broken = stream::iter([Ok(Bytes::from_static(b"0")), Err(std::io::Error::other("gone"))]);
        assert_eq!(cut(Body::from_stream(broken), None).await, Some(Cut::BrokeOff));
    }

    #[tokio::test(start_paused = true)]
    async fn all_bodies_together_take_no_more_than_their_room() {
        let room = Room::new(12);
        let first = read(&HeaderMap::new(), body(&["0123", "4567"], true), LIMITS, Some(&room)).await.unwrap();
        assert_eq!(cut(body(&["0123", "4"], true), Some(&room)).await, Some(Cut::NoRoom));
        assert_eq!(room.0.available_permits(), 4, "who was turned away holds nothing");
        drop(first);
        assert_eq!(cut(body(&["0123", "4"], true), Some(&room)).await, None);
        assert_eq!(cut(body(&["0123", "4"], false), Some(&room)).await, Some(Cut::TooSlow));
        assert_eq!(room.0.available_permits(), 12);
    }
}
