//! What a process does for its workspace.

use clap::ValueEnum;

/// The part of a process. One machine does all of it; on a broker the parts can be on several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Serve customers and providers, send, and route or be ready to
    #[default]
    All,
    /// Route, or follow and be ready to; no webhooks, no chat, no sending
    Router,
    /// Serve webhooks and chat, and send; never route
    Edge,
}

impl Role {
    /// Whether this process may lead the workspace.
    #[must_use]
    pub fn routes(self) -> bool {
        self != Role::Edge
    }

    /// Whether this process serves the public listener, sends and polls.
    #[must_use]
    pub fn serves(self) -> bool {
        self != Role::Router
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::All => "all",
            Role::Router => "router",
            Role::Edge => "edge",
        }
    }
}
