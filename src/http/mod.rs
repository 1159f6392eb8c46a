//! What listens: provider webhooks and chat on the public address; the API, the console and the metrics on the admin one.

pub mod chat;
pub mod console;
