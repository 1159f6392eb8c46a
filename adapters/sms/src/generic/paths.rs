//! Values by their paths in a query, a form, JSON or plain text.

use crate::{
    charset,
    request::{self, Source, essence},
};
use serde_json::Value;
use switchboard_adapter_sdk::Response;

/// What a request or an answer carries.
pub(super) enum Fields {
    Form(request::Fields),
    Json(Value),
    /// Plain text, which has one value.
    Text(String),
}

impl Fields {
    pub(super) fn of(source: &Source<'_>) -> Result<Fields, &'static str> {
        if source.is_get {
            return Ok(Fields::Form(request::Fields::of(source.query.as_bytes())));
        }
        match essence(source.content_type).as_str() {
            "application/x-www-form-urlencoded" => Ok(Fields::Form(request::Fields::of(source.body))),
            _ => match serde_json::from_slice(source.body) {
                Ok(json) => Ok(Fields::Json(json)),
                Err(_) if source.content_type.is_empty() => Ok(Fields::Form(request::Fields::of(source.body))),
                Err(_) => Err("neither a form nor JSON"),
            },
        }
    }

    pub(super) fn of_answer(response: &Response) -> Fields {
        match serde_json::from_slice::<Value>(&response.body) {
            Ok(json) if json.is_object() || json.is_array() => Fields::Json(json),
            _ => Fields::Text(charset::from_utf8(&response.body)),
        }
    }

    /// A value as text, without blanks around it; `None` when it is not there or empty.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        self.raw(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A value that names one message: not a number so large that it cannot be read exactly, which would name others as well.
    pub(super) fn id(&self, path: &str) -> Option<String> {
        let is_inexact = matches!(self, Fields::Json(json) if pointed(json, path).is_some_and(Value::is_f64));
        self.text(path).filter(|_| !is_inexact)
    }

    /// A value as it is written.
    pub(super) fn raw(&self, path: &str) -> Option<String> {
        match self {
            Fields::Form(fields) => fields.bytes(path).map(charset::from_utf8),
            Fields::Text(text) => (path == "text").then(|| text.clone()),
            Fields::Json(json) => match pointed(json, path)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(flag) => Some(flag.to_string()),
                _ => None,
            },
        }
    }

    /// An item of a list as it is written in JSON.
    pub(super) fn written(&self) -> Option<String> {
        let Fields::Json(json) = self else { return None };
        Some(json.to_string())
    }

    /// The items of a list in JSON.
    pub(super) fn list(self, path: &str) -> Option<Vec<Fields>> {
        match self {
            Fields::Json(json) => {
                let items = pointed(&json, path)?.as_array()?;
                Some(items.iter().cloned().map(Fields::Json).collect())
            }
            _ => None,
        }
    }
}

/// A JSON Pointer (RFC 6901), or the name of a field at the top.
fn pointed<'a>(json: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() || path.starts_with('/') { json.pointer(path) } else { json.get(path) }
}
