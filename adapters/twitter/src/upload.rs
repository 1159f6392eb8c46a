//! Files of ours, which X wants to have before the message that shows them: a session is begun, the file follows in pieces, and what
//! X has to convert is asked about until it is done (<https://docs.x.com/x-api/media/quickstart/media-upload-chunked>).

use crate::channel::Twitter;
use crate::json::{id, is_number, text};
use crate::send::{is_public, reset_ms};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;
use switchboard_adapter_sdk::{
    Answer, AttemptOutcome, Response, Step, Upload, classify::Class, redact, signature::to_base64,
};
use switchboard_envelope::{Attachment, Content, Timestamp};

/// Bytes of one piece; X takes five million at once, and base64 makes four of three.
const PIECE: usize = 3 << 20;
/// X says after how long it is asked again; not more often than this, nor more rarely.
const SHORTEST_WAIT: u64 = 1;
const LONGEST_WAIT: u64 = 30;
/// The most pictures below a post.
const MOST_IN_PUBLIC: usize = 4;
const MIB: u64 = 1 << 20;

/// A sort of file that X shows.
struct Sort {
    mime: &'static str,
    /// The end of its `media_category`.
    category: &'static str,
    most: u64,
}

const fn sort(mime: &'static str, category: &'static str, most: u64) -> Sort {
    Sort { mime, category, most }
}

/// What X shows, and how large it may be (<https://docs.x.com/x-api/media/quickstart/best-practices>).
const SORTS: &[Sort] = &[
    sort("image/jpeg", "image", 5 * MIB),
    sort("image/png", "image", 5 * MIB),
    sort("image/webp", "image", 5 * MIB),
    sort("image/bmp", "image", 5 * MIB),
    sort("image/tiff", "image", 5 * MIB),
    sort("image/gif", "gif", 15 * MIB),
    sort("video/mp4", "video", 512 * MIB),
    sort("video/quicktime", "video", 512 * MIB),
    sort("video/webm", "video", 512 * MIB),
];

fn sort_of(file: &Attachment) -> Option<&'static Sort> {
    let mime = file.mime.split(';').next().unwrap_or_default().trim();
    SORTS.iter().find(|sort| sort.mime.eq_ignore_ascii_case(mime))
}

/// Whether X shows these files in a message.
pub(crate) fn fits(thread: &str, content: &Content) -> Result<(), String> {
    let mut alone = false;
    for file in &content.attachments {
        let sort = sort_of(file).ok_or_else(|| {
            format!("X shows pictures and films only, and `{}` is none: send a link in its place", file.name)
        })?;
        if file.size > sort.most {
            return Err(format!("`{}` is larger than the {} MiB that X takes of its kind", file.name, sort.most / MIB));
        }
        alone |= sort.category != "image";
    }
    let count = content.attachments.len();
    if count > 1 && !is_public(thread) {
        return Err("X takes one file with a direct message: send each with a message of its own".into());
    }
    if count > MOST_IN_PUBLIC || (alone && count > 1) {
        return Err(format!("X takes {MOST_IN_PUBLIC} pictures below a post, or one film"));
    }
    Ok(())
}

/// The ids under which X has a message's files.
pub(crate) fn ids(content: &Content) -> Result<Vec<&str>, AttemptOutcome> {
    let handed = content.attachments.iter().map(|file| file.url.as_deref().filter(|id| is_number(id)));
    handed
        .collect::<Option<_>>()
        .ok_or_else(|| Class::Retry.attempt(None, "a file was not handed to X before its message; nothing was sent"))
}

/// A file on its way.
pub(crate) struct Handing<'a> {
    twitter: &'a Twitter,
    public: bool,
    sort: &'static Sort,
    name: String,
    place: Place,
}

/// What was asked for last.
enum Place {
    Nothing,
    Session,
    /// The pieces up to this byte.
    Piece {
        id: String,
        to: usize,
        index: u32,
    },
    End {
        id: String,
    },
}

impl<'a> Handing<'a> {
    pub(crate) fn new(twitter: &'a Twitter, thread: &str, file: &Attachment) -> Option<Handing<'a>> {
        let sort = sort_of(file)?;
        let name = file.name.clone();
        Some(Handing { twitter, public: is_public(thread), sort, name, place: Place::Nothing })
    }

    fn begin(&mut self, file: &Bytes) -> Step {
        self.place = Place::Session;
        let of = if self.public { "tweet" } else { "dm" };
        let body = json!({
            "media_type": self.sort.mime, "total_bytes": file.len(), "media_category": format!("{of}_{}", self.sort.category),
        });
        Step::Call(Box::new(self.twitter.post("/2/media/upload/initialize", &body)), Duration::ZERO)
    }

    /// The piece that begins at this byte; after the last one the session is ended.
    fn piece(&mut self, id: String, from: usize, index: u32, file: &Bytes) -> Step {
        let to = from.saturating_add(PIECE).min(file.len());
        let piece = file.get(from..to).filter(|piece| !piece.is_empty());
        let (path, body) = match piece {
            Some(piece) => {
                let body = json!({ "media": to_base64(piece), "segment_index": index });
                (format!("/2/media/upload/{id}/append"), body)
            }
            None => (format!("/2/media/upload/{id}/finalize"), json!({})),
        };
        self.place = match piece {
            Some(_) => Place::Piece { id, to, index },
            None => Place::End { id },
        };
        Step::Call(Box::new(self.twitter.post(&path, &body)), Duration::ZERO)
    }

    /// X may have to convert what it has.
    fn processed(&mut self, id: String, body: &Value) -> Result<Step, AttemptOutcome> {
        let info = body.pointer("/data/processing_info").or_else(|| body.get("processing_info"));
        let state = info.and_then(|info| text(info, "/state"));
        match (info, state) {
            (None, _) | (_, Some("succeeded")) => Ok(Step::Done(id)),
            (Some(info), Some("failed")) => {
                let why = text(info, "/error/message").or_else(|| text(info, "/error/name")).unwrap_or("no reason");
                Err(Class::PermanentMessage.attempt(text(info, "/error/name"), self.refusal(why)))
            }
            (Some(info), _) => {
                let wait = info.get("check_after_secs").and_then(Value::as_u64).unwrap_or(SHORTEST_WAIT);
                let query = [("command", "STATUS"), ("media_id", id.as_str())];
                let call = self.twitter.get("/2/media/upload", &query);
                self.place = Place::End { id };
                Ok(Step::Call(Box::new(call), Duration::from_secs(wait.clamp(SHORTEST_WAIT, LONGEST_WAIT))))
            }
        }
    }

    fn refusal(&self, why: &str) -> String {
        let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
        format!("X does not take the file `{}`: {}", self.name, redact::text(&why, &[]).trim_end_matches('.'))
    }

    /// What an answer other than a good one means. No message left, so whatever passes is tried again whole.
    fn refused(&self, response: &Response, body: &Value, now: Timestamp) -> AttemptOutcome {
        let status = response.status.to_string();
        let told = ["/detail", "/errors/0/detail", "/errors/0/message", "/error"].iter().find_map(|at| text(body, at));
        let (class, sentence) = match response.status {
            // Answered here, in X's place.
            401 if text(body, "/type") == Some(crate::send::RENEWAL) => {
                return crate::send::renewal(told.unwrap_or_default());
            }
            401 => (Class::Config, "X refuses the tokens: write new ones, and check the app's permissions".to_owned()),
            402 => {
                (Class::Config, "the app's plan at X is used up: look at its usage in the developer console".to_owned())
            }
            // The channel goes on without files.
            403 => {
                let what = "with OAuth 2.0 the app needs the scope media.write: authorize it again with it";
                (Class::PermanentMessage, format!("X does not let the app hand over files: {what}"))
            }
            429 => (Class::RateLimit, "too many files for X; nothing was sent".to_owned()),
            400..=499 => (Class::PermanentMessage, self.refusal(told.unwrap_or("no reason"))),
            _ => (Class::Retry, format!("X answered {status} to the file `{}`; nothing was sent", self.name)),
        };
        let mut outcome = class.attempt(Some(&status), sentence);
        if class == Class::RateLimit {
            outcome.retry_after_ms = reset_ms(response, now).max(response.retry_after_ms(now));
        }
        outcome
    }
}

impl Upload for Handing<'_> {
    fn step(&mut self, file: &Bytes, answer: Option<&Answer>, now: Timestamp) -> Result<Step, AttemptOutcome> {
        let body = match answer {
            None => Value::Null,
            Some(Err(error)) => {
                let lost = format!("the file `{}` did not get to X ({error}); nothing was sent", self.name);
                return Err(Class::Retry.attempt(None, lost));
            }
            Some(Ok(response)) => {
                let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
                if !(200..300).contains(&response.status) {
                    return Err(self.refused(response, &body, now));
                }
                body
            }
        };
        match std::mem::replace(&mut self.place, Place::Nothing) {
            Place::Nothing => Ok(self.begin(file)),
            Place::Session => match id(&body, "/data/id").filter(|id| is_number(id)) {
                Some(id) => Ok(self.piece(id, 0, 0, file)),
                None => Err(Class::Retry.attempt(None, "X began to take a file and gave it no id; nothing was sent")),
            },
            Place::Piece { id, to, index } => Ok(self.piece(id, to, index.saturating_add(1), file)),
            Place::End { id } => self.processed(id, &body),
        }
    }
}
