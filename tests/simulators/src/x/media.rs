//! Files that are handed over before the message that shows them.

use super::{
    Shared, State, XFile,
    answers::{body_of, problem},
    next_id,
};
use crate::{
    http::{Answer, Request},
    lock,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A piece may have so many bytes.
const MAX_PIECE: usize = 5_000_000;

/// A file that is being handed over.
pub(super) struct Session {
    pub file: XFile,
    total: usize,
    pieces: u64,
    is_whole: bool,
    /// How often it still has to be asked about.
    pending: u32,
}

fn refuse(state: &mut State, why: String) -> Answer {
    let answer = problem(400, "Invalid Request", &why);
    state.violations.push(why);
    answer
}

/// What may be asked about files; `None` when the path is none of theirs.
pub(super) fn answer(shared: &Shared, request: &Request) -> Option<Answer> {
    let rest = request.path.strip_prefix("/2/media/upload")?;
    let mut state = lock(&shared.state);
    let named = rest.trim_start_matches('/').split_once('/');
    Some(match (request.method.as_str(), rest, named) {
        ("POST", "/initialize", _) => began(&mut state, request),
        ("POST", _, Some((id, "append"))) => appended(&mut state, request, id),
        ("POST", _, Some((id, "finalize"))) => ended(&mut state, id),
        ("GET", "", _) => asked(&mut state, request),
        _ => refuse(&mut state, format!("{} {}: no such resource", request.method, request.path)),
    })
}

fn began(state: &mut State, request: &Request) -> Answer {
    let body = match body_of(state, request, &["media_type", "total_bytes", "media_category"]) {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (mime, category) = (text("media_type"), text("media_category"));
    let kind = match mime.as_str() {
        "image/gif" => "gif",
        image if image.starts_with("image/") => "image",
        film if film.starts_with("video/") => "video",
        _ => "",
    };
    let total = body["total_bytes"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let known = ["dm", "tweet"].iter().any(|of| category == format!("{of}_{kind}"));
    if !known || total == 0 || (kind == "image" && total > 5 << 20) {
        return refuse(state, format!("a file of {total} bytes, {mime} as {category}"));
    }
    let id = next_id(state);
    let file = XFile { category, mime, bytes: vec![] };
    let pending = if kind == "image" { 0 } else { 2 };
    state.sessions.insert(id.clone(), Session { file, total, pieces: 0, is_whole: false, pending });
    Answer::json(200, &json!({ "data": { "id": id, "media_key": format!("3_{id}"), "expires_after_secs": 86400 } }))
}

fn appended(state: &mut State, request: &Request, id: &str) -> Answer {
    let body = match body_of(state, request, &["media", "segment_index"]) {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let piece = body["media"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let index = body["segment_index"].as_u64();
    let Some(session) = state.sessions.get_mut(id).filter(|s| !s.is_whole) else {
        return refuse(state, format!("a piece for nothing: {id}"));
    };
    if piece.is_empty() || piece.len() > MAX_PIECE || index != Some(session.pieces) {
        return refuse(state, format!("a piece of {} bytes as {index:?}", piece.len()));
    }
    session.pieces += 1;
    session.file.bytes.extend(piece);
    Answer::json(200, &json!({ "data": { "expires_at": 1_800_000_000 } }))
}

fn ended(state: &mut State, id: &str) -> Answer {
    let Some(session) = state.sessions.get_mut(id).filter(|s| !s.is_whole) else {
        return refuse(state, format!("the end of nothing: {id}"));
    };
    if session.file.bytes.len() != session.total {
        return refuse(state, format!("the end of {id} before all of it came"));
    }
    session.is_whole = true;
    standing(id, session)
}

fn asked(state: &mut State, request: &Request) -> Answer {
    let query: BTreeMap<String, String> = form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
    let id = query.get("media_id").cloned().unwrap_or_default();
    if query.get("command").map(String::as_str) != Some("STATUS") || query.len() != 2 {
        return refuse(state, format!("a question that is none: {query:?}"));
    }
    match state.sessions.get_mut(&id).filter(|s| s.is_whole) {
        Some(session) => {
            session.pending = session.pending.saturating_sub(1);
            standing(&id, session)
        }
        None => refuse(state, format!("a question about nothing: {id}")),
    }
}

/// Films are converted for a while; a text that calls itself one never is.
fn standing(id: &str, session: &Session) -> Answer {
    let mut data = json!({ "id": id, "media_key": format!("3_{id}"), "size": session.total });
    let is_broken = session.file.bytes.starts_with(b"broken");
    if session.file.category.ends_with("image") {
    } else if is_broken {
        let error = json!({ "code": 1, "name": "InvalidMedia", "message": "Unsupported video format." });
        data["processing_info"] = json!({ "state": "failed", "error": error });
    } else if session.pending > 0 {
        data["processing_info"] = json!({ "state": "in_progress", "check_after_secs": 1, "progress_percent": 50 });
    } else {
        data["processing_info"] = json!({ "state": "succeeded", "progress_percent": 100 });
    }
    Answer::json(200, &json!({ "data": data }))
}

/// The files that a message names; each is whole, converted, for this use, and shown once.
pub(super) fn shown(state: &mut State, ids: &[Value], of: &str) -> Result<Vec<XFile>, Answer> {
    let mut files = vec![];
    for id in ids {
        let id = id.as_str().unwrap_or_default();
        let ready = |s: &Session| s.is_whole && (s.file.category.ends_with("image") || s.pending == 0);
        let is_ready = state.sessions.get(id).is_some_and(|s| ready(s) && s.file.category.starts_with(of));
        match state.sessions.remove(id).filter(|_| is_ready) {
            Some(session) => files.push(session.file),
            None => return Err(refuse(state, format!("the file `{id}` is not there for a {of}"))),
        }
    }
    Ok(files)
}
