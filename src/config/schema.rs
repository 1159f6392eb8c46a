//! The JSON Schema of the configuration file, for editors. It is written by hand, because what a file may hold is wider
//! than any type that a deserializer would use; a test compares its keys with those that the reader asks for.

use serde_json::{Map, Value, json};

/// The schema, as `switchboard schema config` prints it and `schema/config.schema.json` holds it.
#[must_use]
pub fn config_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Switchboard configuration",
        "description": "The daemon's TOML file. Environment variables SWITCHBOARD__<TABLE>__<KEY> override it.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "workspace": { "$ref": "#/$defs/id", "default": "main", "description": "one routing domain: its conversations, agents, queues" },
            "log": log(),
            "http": http(),
            "admin": admin(),
            "rules": table("The rule pack; the one that is compiled in when this is left out.", json!({ "path": text("a directory of YAML files") })),
            "logging": table("What the daemon tells of itself.", json!({
                "format": { "enum": ["text", "json"], "default": "text" },
                "level": { "type": "string", "default": "info", "description": "`info`, or `info,switchboard::router=debug`" },
            })),
            "retention": table("How long things are kept.", json!({
                "messages": duration("365d", "transcripts"),
                "raw": duration("30d", "what providers sent, byte for byte; longer where it is in quarantine"),
            })),
            "shutdown": table("How the daemon stops.", json!({ "drain": duration("30s", "how long work in hand may take after the signal") })),
            "limits": table("What may pile up.", json!({
                "inbox": size("1GiB", "what may wait to be routed; messages are refused at 80 % of it"),
                "duplicates": { "type": "integer", "minimum": 10_000, "maximum": 1_000_000_000, "default": 5_000_000, "description": "remembered event ids" },
            })),
            "channels": by_id("Where customers write.", json!({ "oneOf": kinds() })),
            "desks": by_id("Where people of ours are told; they answer in the console and through the API.", json!({ "oneOf": desks() })),
        },
        "$defs": {
            "id": { "type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$" },
            "duration": { "type": "string", "pattern": "^([0-9]+(ms|s|m|min|h|d|w))+$", "examples": ["30s", "1h30m", "365d"] },
            "size": { "type": "string", "pattern": "^[0-9]+ ?([kKmMgGtT]i?[bB]|[bB])?$", "examples": ["64KiB", "1MiB"] },
            "secret": {
                "description": "a literal is accepted with a warning",
                "oneOf": [
                    source("env", "an environment variable"),
                    source("file", "a file, from this file's directory; the line end is cut"),
                    source("credential", "a systemd credential"),
                    { "type": "string", "minLength": 1 },
                ],
            },
        },
    })
}

pub(super) fn table(description: &str, properties: Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "description": description, "properties": properties })
}

fn by_id(description: &str, each: Value) -> Value {
    json!({ "type": "object", "description": description, "propertyNames": { "$ref": "#/$defs/id" }, "additionalProperties": each })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "description": description })
}

pub(super) fn secret(description: &str) -> Value {
    json!({ "$ref": "#/$defs/secret", "description": description })
}

fn duration(default: &str, description: &str) -> Value {
    json!({ "$ref": "#/$defs/duration", "default": default, "description": description })
}

fn size(default: &str, description: &str) -> Value {
    json!({ "$ref": "#/$defs/size", "default": default, "description": description })
}

fn source(key: &str, description: &str) -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": [key], "properties": { key: text(description) } })
}

fn log() -> Value {
    let tls = table(
        "TLS towards the broker; also without keys it is then demanded.",
        json!({
            "ca": text("a PEM file of certificates that are believed beside the system's"),
            "cert": text("our own certificate, a PEM file"),
            "key": text("its key, a PEM file"),
        }),
    );
    let sizes = table(
        "What the broker reserves for each stream; that of IN is `limits.inbox`.",
        json!({
            "log": size("4GiB", "the router's frames"),
            "out": size("512MiB", "attempts to send, of the last twenty minutes"),
            "claims": size("2GiB", "claims of attempts, of the last half hour"),
            "keys": size("256MiB", "the keys of contacts"),
            "edges": size("16MiB", "cursors of polls"),
            "blobs": size("4GiB", "attachments, packs and snapshots"),
        }),
    );
    table(
        "The only truth: an embedded log in a directory of data, or streams on a NATS broker.",
        json!({
            "backend": { "enum": ["embedded", "nats"], "default": "embedded" },
            "path": { "type": "string", "minLength": 1, "default": "data", "description": "the data directory, on every backend" },
            "format": { "type": "integer", "minimum": 1, "maximum": crate::log::frame::VERSION, "default": 1, "description": "the newest format of frames that is written; raised once no earlier version will be gone back to" },
            "servers": { "type": "array", "minItems": 1, "items": { "type": "string" }, "examples": [["nats://127.0.0.1:4222"]], "description": "nats: the brokers" },
            "credentials": secret("nats: the text of a .creds file"),
            "nkey": secret("nats: the seed of an nkey"),
            "tls": tls,
            "replicas": { "enum": [1, 3, 5], "default": 1, "description": "nats: copies of every stream" },
            "prefix": { "type": "string", "default": "sb", "description": "nats: the first part of every subject" },
            "sizes": sizes,
        }),
    )
}

fn http() -> Value {
    let mut tls = table(
        "TLS on the public listener.",
        json!({
            "cert": text("a PEM file with the certificate and its chain"),
            "key": secret("the private key in PEM"),
        }),
    );
    require(&mut tls, &["cert", "key"]);
    table(
        "The public listener: webhooks and chat.",
        json!({
            "listen": { "type": "string", "default": "127.0.0.1:8080" },
            "public_url": { "type": "string", "format": "uri", "description": "what providers call; signatures are computed over it" },
            "tls": tls,
            "trusted_proxies": { "type": "array", "items": { "type": "string" }, "description": "whose X-Forwarded-For is believed", "examples": [["127.0.0.1/32"]] },
            "max_body": size("1MiB", "a longer request is answered 413"),
            "read_timeout": duration("15s", "how long a request may take to arrive"),
            "max_connections": { "type": "integer", "minimum": 16, "maximum": 1_000_000, "default": 10_000 },
        }),
    )
}

fn admin() -> Value {
    let mut token = table(
        "A bearer token.",
        json!({
            "token": secret("at least 16 characters"),
            "scopes": { "type": "array", "minItems": 1, "items": { "enum": ["admin", "supervisor", "agent", "read"] } },
            "agent": { "$ref": "#/$defs/id", "description": "for whom a token of scope `agent` speaks" },
        }),
    );
    require(&mut token, &["token", "scopes"]);
    table(
        "The private listener: API, console, metrics, health.",
        json!({
            "listen": { "type": "string", "default": "127.0.0.1:8081" },
            "public_url": { "type": "string", "format": "uri", "description": "where agents reach the console; notices at desks lead there" },
            "tokens": by_id("Tokens for the API.", token),
        }),
    )
}

pub(super) fn require(table: &mut Value, keys: &[&str]) {
    if let Some(t) = table.as_object_mut() {
        t.insert("required".into(), json!(keys));
    }
}

/// A kind of channel: its own keys and those of every channel.
fn channel(kind: &str, description: &str, own: Value, required: &[&str]) -> Value {
    let inward = json!({
        "poll": { "type": "string", "description": "time between catch-up polls, or `off`", "examples": ["5m", "off"] },
        "signatures": { "enum": ["enforce", "report"], "default": "enforce" },
    });
    let mut channel = desk(kind, description, own, required);
    let properties = channel.get_mut("properties").and_then(Value::as_object_mut);
    if let (Some(properties), Value::Object(inward)) = (properties, inward) {
        properties.extend(inward);
    }
    channel
}

/// A kind of desk: its own keys and those of every desk.
fn desk(kind: &str, description: &str, own: Value, required: &[&str]) -> Value {
    let common = json!({
        "kind": { "const": kind },
        "enabled": { "type": "boolean", "default": true },
        "rate": { "type": "string", "pattern": "^[0-9]+ */ *(s|m|min|h|d)$", "description": "the most sends in a time, of all edges together; none by default", "examples": ["10/s"] },
        "send_timeout": duration("20s", "how long one call to the provider may take"),
        "not_after": duration("1d", "how long after its acceptance a reply may still be sent"),
        "resend_unknown": { "type": "boolean", "default": false, "description": "send again what may have been sent: a customer may get it twice" },
        "proxy": secret("`http://host:port`, for calls to the provider"),
    });
    let mut properties = Map::new();
    for part in [common, own] {
        if let Value::Object(part) = part {
            properties.extend(part);
        }
    }
    let mut channel = table(description, Value::Object(properties));
    require(&mut channel, &[&["kind"], required].concat());
    channel
}

/// One shape a kind of desk.
fn desks() -> Vec<Value> {
    let mut kinds = vec![desk(
        "webhook",
        "Notices as signed JSON over HTTP (Standard Webhooks).",
        webhook_keys("where notices are posted", "signs what goes out"),
        &["url", "secret"],
    )];
    kinds.extend(crate::registry::DESKS.iter().map(|kind| {
        let (own, required) = super::declared::schema(kind.keys);
        desk(kind.name, kind.about, Value::Object(own), &required)
    }));
    kinds
}

/// One shape a kind of channel, and of text messages one a provider.
fn kinds() -> Vec<Value> {
    let mut kinds: Vec<Value> = switchboard_sms::PROVIDERS.iter().map(|provider| sms(provider)).collect();
    kinds.extend(switchboard_facebook::PRODUCTS.iter().map(|product| facebook(product)));
    kinds.extend([email(), webchat(), webhook(), external()]);
    kinds.extend(crate::registry::REGISTRY.iter().map(|kind| declared(kind)));
    kinds
}

fn sms(provider: &switchboard_sms::Provider) -> Value {
    let mut own = Map::from_iter([("provider".to_owned(), json!({ "const": provider.name }))]);
    let mut required = vec!["provider"];
    for keys in [provider.keys, switchboard_sms::COMMON] {
        let (properties, needed) = super::declared::schema(keys);
        own.extend(properties);
        required.extend(needed);
    }
    let mut sms = channel("sms", provider.about, Value::Object(own), &required);
    let together = provider.together.iter().flat_map(|[one, other]| [(*one, vec![*other]), (*other, vec![*one])]);
    between(&mut sms, provider.either, together);
    sms
}

fn declared(kind: &switchboard_adapter_sdk::Kind) -> Value {
    let (own, required) = super::declared::schema(kind.keys);
    let mut schema = channel(kind.name, kind.about, Value::Object(own), &required);
    between(&mut schema, kind.either, kind.needs.iter().map(|(key, others)| (*key, others.to_vec())));
    schema
}

/// What holds between keys: one of `either` is written, and each of `needs` only beside others.
fn between<'a>(schema: &mut Value, either: &[&str], needs: impl Iterator<Item = (&'a str, Vec<&'a str>)>) {
    let Some(schema) = schema.as_object_mut() else { return };
    if !either.is_empty() {
        schema.insert("anyOf".into(), either.iter().map(|key| json!({ "required": [key] })).collect());
    }
    let needs: Map<String, Value> = needs.map(|(key, others)| (key.to_owned(), json!(others))).collect();
    if !needs.is_empty() {
        schema.insert("dependentRequired".into(), Value::Object(needs));
    }
}

fn facebook(product: &switchboard_facebook::Product) -> Value {
    let mut own = Map::from_iter([("product".to_owned(), json!({ "const": product.name }))]);
    let mut required = vec![];
    if product.name != switchboard_facebook::USUAL {
        required.push("product");
    }
    for keys in [product.keys, switchboard_facebook::COMMON] {
        let (properties, needed) = super::declared::schema(keys);
        own.extend(properties);
        required.extend(needed);
    }
    channel("facebook", product.about, Value::Object(own), &required)
}

fn email() -> Value {
    let (own, required) = super::declared::schema(switchboard_email::config::KEYS);
    let mut email = channel("email", "A support mailbox.", Value::Object(own), &required);
    between(&mut email, &["imap", "delivery"], std::iter::empty());
    email
}

fn webchat() -> Value {
    let count = |most: u32, usual: u32, description: &str| json!({ "type": "integer", "minimum": 1, "maximum": most, "default": usual, "description": description });
    let limits = table(
        "What one visitor, and all of them, may use.",
        json!({
            "rate": count(1000, 10, "frames a second from one visitor"),
            "burst": count(10_000, 20, "frames at once after a pause"),
            "text": count(4000, 4000, "characters of one message"),
            "file_bytes": size("10MiB", "one file"),
            "sockets_per_visitor": count(100, 8, "sockets and waiting polls of one visitor"),
            "sockets": count(1_000_000, 20_000, "sockets and waiting polls of the channel"),
        }),
    );
    let own = json!({
        "origins": { "type": "array", "items": { "type": "string" }, "description": "sites that may embed the widget, without a path", "examples": [["https://shop.example"]] },
        "title": { "type": "string", "maxLength": 60 },
        "greeting": { "type": "string", "maxLength": 400, "description": "what stands above an empty conversation" },
        "color": { "type": "string", "pattern": "^#[0-9a-fA-F]{6}$", "default": "#0b57d0" },
        "side": { "enum": ["right", "left"], "default": "right" },
        "language": { "enum": ["en", "de", "fr", "es", "pl"], "description": "by default the page's, then the browser's" },
        "demo": { "type": "boolean", "default": true, "description": "serve a page of its own at /chat/<channel>" },
        "uploads": { "type": "boolean", "default": true, "description": "visitors may send files" },
        "cost": { "type": "number", "minimum": 0, "maximum": 100, "default": 1, "description": "load of one chat on an agent, in capacity units" },
        "token_days": count(3650, 365, "how long a browser is known again"),
        "identity_secret": one_or_more("with which your server vouches for its users"),
        "limits": limits,
    });
    channel("webchat", "The chat widget, on our own page and on yours.", own, &[])
}

fn webhook_keys(url: &str, secret: &str) -> Value {
    json!({
        "url": { "type": "string", "format": "uri", "description": url, "examples": ["https://crm.shop.example/switchboard"] },
        "secret": one_or_more(&format!("`whsec_` and base64: {secret}")),
        "address_kind": { "type": "string", "pattern": "^[a-z0-9_-]{1,32}$", "description": "what the addresses there are, as `phone`; the id by default" },
    })
}

fn webhook() -> Value {
    let own = webhook_keys(
        "where messages to customers are posted",
        "signs what goes out, and must have signed what comes in",
    );
    channel("webhook", "Anything that speaks signed JSON over HTTP (Standard Webhooks).", own, &["url", "secret"])
}

fn external() -> Value {
    let name =
        |description: &str| json!({ "type": "string", "pattern": "^[a-z0-9_-]{1,32}$", "description": description });
    let own = json!({
        "label": name("what rules call its `kind`"),
        "address_kind": name("what its customers' addresses are, as `phone`; the label by default"),
        "max_text": { "type": "integer", "minimum": 1, "maximum": 1_000_000, "description": "characters of one message; no limit by default" },
        "proactive": { "type": "boolean", "default": false, "description": "a conversation may start from our side" },
    });
    channel("external", "An adapter in another process, on NATS.", own, &["label"])
}

pub(super) fn one_or_more(description: &str) -> Value {
    let many = json!({ "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/secret" } });
    json!({ "description": format!("{description}; one, or a list while it is rotated"), "oneOf": [{ "$ref": "#/$defs/secret" }, many] })
}
