//! The channel `facebook`: Messenger, and Instagram and WhatsApp, which share its platform
//! (<https://developers.facebook.com/docs/graph-api>).
//!
//! A product is a module with a [`Product`], which declares its keys and builds its adapter, and a line in [`PRODUCTS`]. All of
//! them are called and signed in the same way ([`hook`]) and answer with the same errors ([`graph`]).
#![forbid(unsafe_code)]

mod apart;
mod event;
#[cfg(test)]
mod fixtures;
mod graph;
mod hook;
mod page;
mod product;
mod whatsapp;

pub use product::{COMMON, Product, USUAL, build, check, product};
pub use switchboard_adapter_sdk::ConfigProblem;

/// Every product, by the name that the configuration uses.
pub const PRODUCTS: &[&Product] = &[
    &page::MESSENGER,   // <https://developers.facebook.com/docs/messenger-platform>
    &page::INSTAGRAM,   // <https://developers.facebook.com/docs/messenger-platform/instagram>
    &whatsapp::PRODUCT, // <https://developers.facebook.com/docs/whatsapp/cloud-api>
];
