//! The contract of an adapter in another process, as AsyncAPI 3: which subjects it writes and reads, and what stands on them.

use crate::schema;
use serde_json::{Map, Value, json};

/// What an adapter may say of its channel. Commands are for desks and the API only.
const SAYS: [&str; 7] = ["message", "receipt", "consent", "echo", "result", "unparsed", "refused"];

/// The document, as `switchboard schema asyncapi` prints it. Operations are the adapter's: `send` is what it publishes.
#[must_use]
pub fn asyncapi() -> Value {
    let mut parts = Parts::default();
    parts.take(schema::inbound(), &SAYS);
    parts.take(schema::outbound(), &["send", "reconcile"]);
    parts.messages.extend(own_messages());
    parts.prune();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Switchboard: an adapter in another process",
            "version": crate::VERSION.to_string(),
            "description": "A channel of kind `external`. The daemon makes every stream, bucket and consumer; the adapter only binds to them. docs/channels/external.md tells the order of things.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": { "broker": {
            "host": "127.0.0.1:4222", "protocol": "nats",
            "description": "NATS with JetStream, the one that the daemon uses; answers come below `_INBOX_{prefix}_{workspace}_{channel}.`",
        } },
        "channels": channels(),
        "operations": operations(),
        "components": { "messages": parts.messages, "schemas": parts.schemas, "parameters": parameters() },
    })
}

#[derive(Default)]
struct Parts {
    messages: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Parts {
    /// The named alternatives of a JSON Schema as messages, and its definitions as schemas.
    fn take(&mut self, document: Value, names: &[&str]) {
        let text = document.to_string().replace("#/$defs/", "#/components/schemas/");
        let Ok(Value::Object(mut document)) = serde_json::from_str(&text) else { return };
        if let Some(Value::Object(definitions)) = document.remove("$defs") {
            self.schemas.extend(definitions);
        }
        let Some(Value::Array(alternatives)) = document.remove("oneOf") else { return };
        for payload in alternatives {
            let name = payload.get("title").and_then(Value::as_str).unwrap_or_default().to_owned();
            if names.contains(&name.as_str()) {
                let headers = json!({
                    "type": "object", "required": ["Nats-Msg-Id"],
                    "properties": { "Nats-Msg-Id": { "type": "string", "description": "the envelope's `id`: the same for every try" } },
                });
                let mut message = json!({ "name": name, "payload": payload });
                if let Some(m) = message.as_object_mut().filter(|_| SAYS.contains(&name.as_str())) {
                    m.insert("headers".into(), headers);
                }
                self.messages.insert(name, message);
            }
        }
    }
}

impl Parts {
    /// Leaves out what no message refers to, such as the parts of commands.
    fn prune(&mut self) {
        loop {
            let text = format!("{}{}", json!(self.messages), json!(self.schemas));
            let before = self.schemas.len();
            self.schemas.retain(|name, _| text.contains(&format!("\"#/components/schemas/{name}\"")));
            if self.schemas.len() == before {
                return;
            }
        }
    }
}

/// What is no envelope.
fn own_messages() -> [(String, Value); 4] {
    let time = json!({ "type": "string", "format": "date-time" });
    let only_if_new = json!({
        "type": "object", "required": ["Nats-Expected-Last-Subject-Sequence"],
        "properties": { "Nats-Expected-Last-Subject-Sequence": { "const": "0" } },
    });
    let rollup =
        json!({ "type": "object", "required": ["Nats-Rollup"], "properties": { "Nats-Rollup": { "const": "sub" } } });
    let description = json!({
        "type": "object",
        "required": ["name", "bucket", "nuid", "size", "mtime", "chunks", "digest"],
        "properties": {
            "name": { "type": "string", "description": "`{channel}/{scope}/{hash}`" },
            "bucket": { "type": "string", "description": "`SB_{workspace}_BLOBS`" },
            "nuid": { "type": "string", "description": "`{channel}.{file}`: below which its chunks are" },
            "size": { "type": "integer", "minimum": 0 },
            "mtime": time,
            "chunks": { "type": "integer", "minimum": 0 },
            "digest": { "type": "string", "description": "`SHA-256=` and the hash in URL-safe base64, with padding" },
        },
    });
    [
        (
            "claim",
            json!({ "name": "claim", "contentType": "text/plain", "headers": only_if_new,
            "payload": { "type": "string", "minLength": 1, "description": "a nonce, fresh for each delivery" } }),
        ),
        (
            "beat",
            json!({ "name": "beat",
            "payload": { "type": "object", "properties": { "v": { "const": crate::VERSION }, "at": time } } }),
        ),
        (
            "chunk",
            json!({ "name": "chunk", "contentType": "application/octet-stream",
            "payload": { "type": "string", "format": "binary", "maxLength": 131_072 } }),
        ),
        ("description", json!({ "name": "description", "headers": rollup, "payload": description })),
    ]
    .map(|(name, message)| (name.to_owned(), message))
}

fn channels() -> Value {
    let channel = |address: &str, parameters: &[&str], messages: &[&str], description: &str| {
        let reference = |kind: &str, names: &[&str]| -> Map<String, Value> {
            names
                .iter()
                .map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/{kind}/{name}") })))
                .collect()
        };
        json!({
            "address": address, "description": description,
            "parameters": reference("parameters", parameters), "messages": reference("messages", messages),
        })
    };
    let place = ["prefix", "workspace", "channel"];
    json!({
        "in": channel("{prefix}.{workspace}.in.{channel}", &place, &SAYS,
            "Stream `SB_{workspace}_IN`. A customer's message is taken once the broker has acknowledged it; until then the provider is not answered, and the same id is published again."),
        "out": channel("{prefix}.{workspace}.out.{channel}", &place, &["send", "reconcile"],
            "Stream `SB_{workspace}_OUT`, through the durable pull consumer `{channel}`: explicit acknowledgement within 15 s, at most 256 unacknowledged. A `reconcile` may be acknowledged and left."),
        "claim": channel("$KV.SB_{workspace}_CLAIMS.{channel}.{send}.{part}.{n}", &["workspace", "channel", "send", "part", "n"], &["claim"],
            "Creating it is the right to make this attempt. Error 10071 says that it exists: the attempt is another's, unless the nonce is the one that was just published."),
        "status": channel("{prefix}.{workspace}.status.{channel}", &place, &["beat"],
            "Core NATS, every ten seconds. After thirty of silence the channel is shown as down."),
        "chunks": channel("$O.SB_{workspace}_BLOBS.C.{channel}.{file}", &["workspace", "channel", "file"], &["chunk"],
            "A file of a customer in pieces of at most 128 KiB, in order."),
        "descriptions": channel("$O.SB_{workspace}_BLOBS.M.{channel}.{scope}.{hash}", &["workspace", "channel", "scope", "hash"], &["description"],
            "After its chunks, and before the message that names the file as `blob:sha256:{hash}`."),
    })
}

fn operations() -> Value {
    let operation = |action: &str, channel: &str, summary: &str| json!({ "action": action, "channel": { "$ref": format!("#/channels/{channel}") }, "summary": summary });
    json!({
        "ingest": operation("send", "in", "Tell what customers and the provider say, and what came of attempts"),
        "attempt": operation("receive", "out", "Take attempts: drop what is past `until`; claim; acknowledge; send and tell the result"),
        "claim": operation("send", "claim", "Claim an attempt before its first byte"),
        "beat": operation("send", "status", "Say that the adapter is there"),
        "storeChunk": operation("send", "chunks", "Store a piece of a customer's file"),
        "storeDescription": operation("send", "descriptions", "Make a stored file exist"),
    })
}

fn parameters() -> Value {
    let one = |description: &str| json!({ "description": description });
    json!({
        "prefix": { "description": "`log.prefix` of the daemon", "default": "sb" },
        "workspace": { "description": "`workspace` of the daemon", "default": "main" },
        "channel": one("the channel's id in the configuration"),
        "send": one("`send` of the record"),
        "part": one("`part` of the record"),
        "n": one("`n` of the record"),
        "file": one("random letters and digits, new for each file"),
        "scope": one("the first 32 hex digits of SHA-256 over `{channel}/{thread}`: no two people share a file"),
        "hash": one("SHA-256 of the file in lower-case hex"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_contract_is_the_one_that_is_printed() {
        let printed = format!("{:#}\n", asyncapi());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/asyncapi.json");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == printed, "run `switchboard schema asyncapi > adapters/envelope/schema/asyncapi.json`");
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_parameter_of_an_address_is_declared() {
        let document = asyncapi();
        let text = document.to_string();
        assert!(!text.contains("$defs"), "a schema kept its own definitions");
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap_or_default();
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
        for (name, channel) in document["channels"].as_object().expect("channels") {
            let address = channel["address"].as_str().expect("an address");
            let declared: Vec<&String> = channel["parameters"].as_object().expect("parameters").keys().collect();
            for parameter in address.split('{').skip(1).filter_map(|p| p.split('}').next()) {
                assert!(declared.iter().any(|d| *d == parameter), "{name}: {parameter}");
            }
            assert_eq!(address.matches('{').count(), declared.len(), "{name} declares what it does not use");
        }
    }

    #[test]
    fn an_adapter_sends_no_commands() {
        let document = asyncapi();
        assert!(document["components"]["messages"].get("command").is_none());
        assert!(document["components"]["schemas"].get("Action").is_none(), "nor their parts");
        assert!(document["components"]["schemas"].get("Content").is_some());
        assert!(document["channels"]["in"]["messages"].get("result").is_some());
        let required = document["components"]["messages"]["result"]["payload"]["required"].to_string();
        assert!(required.contains("\"outcome\""), "{required}");
    }
}
