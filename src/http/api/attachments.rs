//! Files of messages: content-addressed, and scoped by channel and thread.

use super::ApiState;
use super::commands::whole;
use super::input::{Params, Path};
use crate::http::problem::{Fault, Problem};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use switchboard_adapter_sdk::file_type;
use switchboard_envelope::{Attachment, Scope};
use switchboard_routing_rules::ids::ConvId;

/// What a browser may show by itself; everything else is downloaded. No type that can hold a script.
const SHOWN: [&str; 5] = ["image/png", "image/jpeg", "image/gif", "image/webp", "text/plain"];
const MAX_NAME: usize = 200;

/// Where the files of a conversation live.
pub(super) async fn scope(state: &ApiState, conversation: &str) -> Result<(String, String), Problem> {
    let none = || Problem::not_found("there is no such conversation");
    let id = ConvId::parse(conversation).ok_or_else(none)?;
    let (c, _) = state.history().await.conversation(id).await?.ok_or_else(none)?;
    let thread = c.thread.ok_or_else(|| Problem::not_found("nothing is kept of this conversation any more"))?;
    Ok((c.channel, thread))
}

/// A type that can be sent back in a header.
fn mime(given: &str) -> String {
    let essence = given.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let token = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    match essence.split_once('/') {
        Some((a, b)) if token(a) && token(b) && essence.len() <= 127 => essence,
        _ => "application/octet-stream".into(),
    }
}

/// A file's name without a path and without what could confuse a header or a terminal.
fn file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or("");
    let clean: String = last.chars().filter(|c| !c.is_control() && !"\"<>|:*?".contains(*c)).take(MAX_NAME).collect();
    let clean = clean.trim().trim_start_matches('.').to_owned();
    if clean.is_empty() { "file".into() } else { clean }
}

/// `POST /attachments?conversation=…&name=…` with the file as the body. The answer goes into a reply's `attachments`.
pub(super) async fn upload(State(state): State<ApiState>, request: Request) -> Result<Response, Problem> {
    let whole = whole(request, &state, state.shared.limits.file).await?;
    let mut params = Params::of(&whole.uri);
    let conversation = params.one("conversation").unwrap_or_default();
    if conversation.is_empty() {
        params.fault("conversation", "is missing: a file belongs to one conversation");
    }
    let name = file_name(&params.one("name").unwrap_or_default());
    params.finish()?;
    if whole.body.is_empty() {
        return Err(Problem::invalid(vec![Fault { pointer: String::new(), detail: "the file is empty".into() }]));
    }
    debug_assert!(whole.caller.scope >= Scope::Agent, "the route's scope was checked");
    let (_turn, before) = state.turn(&whole.once).await?;
    if let Some(given) = before {
        return Ok(given.into_response());
    }
    let (channel, thread) = scope(&state, &conversation).await?;
    let given = whole.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let size = whole.body.len();
    let blob = state.backend().put_file(&channel, &thread, whole.body).await?;
    let value = json!({ "id": blob.0, "name": name, "mime": mime(given), "size": size });
    state.remember(&whole.once, StatusCode::CREATED, &value);
    Ok((StatusCode::CREATED, axum::Json(value)).into_response())
}

/// The files of a reply, each looked up in the conversation's own scope.
pub(super) async fn stored(
    state: &ApiState,
    conversation: &str,
    files: Vec<Attachment>,
) -> Result<Vec<Attachment>, Problem> {
    if files.is_empty() {
        return Ok(files);
    }
    let (channel, thread) = scope(state, conversation).await?;
    let (mut out, mut faults) = (vec![], vec![]);
    for (i, file) in files.into_iter().enumerate() {
        let bytes = match &file.blob {
            Some(blob) => state.backend().get_file(&channel, &thread, blob).await?,
            None => None,
        };
        match bytes {
            Some(b) => out.push(Attachment {
                name: file_name(&file.name),
                mime: mime(&file.mime),
                size: b.len() as u64,
                ..file
            }),
            None => {
                let detail = "is no file of this conversation; upload it first";
                faults.push(Fault { pointer: format!("/attachments/{i}/id"), detail: detail.into() });
            }
        }
    }
    if faults.is_empty() { Ok(out) } else { Err(Problem::invalid(faults)) }
}

/// Why a file cannot be read that a message names.
fn not_stored(file: &Attachment) -> Problem {
    let why = file.problem.as_ref().map(|p| format!(": {}", p.detail)).unwrap_or_default();
    let (code, said) = match (file.is_wanted(), why.is_empty()) {
        (true, true) => ("not_fetched_yet", "this file is being fetched; look again in a moment"),
        (true, false) => ("not_fetched_yet", "this file is not fetched yet, and is tried again"),
        (false, _) => ("not_fetched", "this file could not be fetched"),
    };
    Problem::new(StatusCode::NOT_FOUND, code, format!("{said}{why}"))
}

pub(super) async fn download(
    State(state): State<ApiState>,
    Path((id, index)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let none = || Problem::not_found("there is no such file");
    let message = state.history().await.message(id).await?.ok_or_else(none)?;
    let file = index.parse::<usize>().ok().and_then(|i| message.attachments.get(i)).ok_or_else(none)?;
    let blob = file.blob.as_ref().ok_or_else(|| not_stored(file))?;
    let (channel, thread) = scope(&state, &message.conversation.to_string()).await?;
    let thread = file.thread.as_ref().unwrap_or(&thread);
    let bytes = state.backend().get_file(&channel, thread, blob).await?.ok_or_else(none)?;
    let kind = mime(&file.mime);
    // What its bytes do not show it to be is no picture, whatever its sender called it.
    let shown = SHOWN.contains(&kind.as_str()) && file_type::with_declared(&bytes, &kind) == kind;
    let how = if shown { "inline" } else { "attachment" };
    let kind = if kind == "text/plain" { "text/plain; charset=utf-8".to_owned() } else { kind };
    let name: String =
        form_urlencoded::byte_serialize(file_name(&file.name).as_bytes()).collect::<String>().replace('+', "%20");
    let mut response = Body::from(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_str(&kind).unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    if let Ok(value) = HeaderValue::from_str(&format!("{how}; filename*=UTF-8''{name}")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    // The address of a link opens the file: it is told to nobody.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
