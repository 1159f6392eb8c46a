//! The chat's edge over a real loopback socket, with a fake store behind it.

mod client;
mod fake;
mod fallback;
mod files;
mod floods;
mod pages;
mod socket;
