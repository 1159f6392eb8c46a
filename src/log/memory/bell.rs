//! A value that somebody waits for, told in the order of those who wait.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// As `watch`, but each who waits has a channel of his own: one `watch` wakes its receivers in an order that differs from run to
/// run, and the simulation must repeat itself.
pub(super) struct Bell<T>(Mutex<(T, Vec<watch::Sender<T>>)>);

impl<T: Copy + PartialEq> Bell<T> {
    pub(super) fn new(value: T) -> Bell<T> {
        Bell(Mutex::new((value, vec![])))
    }

    fn lock(&self) -> MutexGuard<'_, (T, Vec<watch::Sender<T>>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self) -> T {
        self.lock().0
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<T> {
        let mut inner = self.lock();
        inner.1.retain(|waiting| !waiting.is_closed());
        let (sender, receiver) = watch::channel(inner.0);
        inner.1.push(sender);
        receiver
    }

    /// Wakes everybody, unless that is the value already.
    pub(super) fn show(&self, value: T) {
        let mut inner = self.lock();
        if inner.0 != value {
            inner.0 = value;
            inner.1.retain(|waiting| waiting.send(value).is_ok());
        }
    }
}
