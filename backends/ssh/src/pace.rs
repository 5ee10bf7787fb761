//! How much input may be under way to a connection's session.
//!
//! `russh` takes all input that is offered before it writes any of it, and the buffer that holds it stays as large as it
//! was once as long as the connection lives: hundreds of idle connections would keep the largest upload of each in memory.
use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// How many bytes may be given to a session before it has written them to the wire.
const AT_ONCE: usize = 64 * 1024;

/// Counts what a session was given since it last wrote everything it had.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    given: usize,
    waiting: Vec<Waker>,
}

impl Pace {
    /// Ready when the session may be given more.
    pub(crate) fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.given < AT_ONCE {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// The session is given `bytes`.
    pub(crate) fn gives(&self, bytes: usize) {
        self.state().given += bytes;
    }

    /// The session has written everything that it had taken so far. What it takes later it writes later, and says so again.
    pub(crate) fn flushed(&self) {
        let mut state = self.state();
        state.given = 0;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_no_more_until_all_is_written() {
        let pace = Pace::default();
        let cx = Context::from_waker(Waker::noop());
        assert!(pace.poll_ready(&cx).is_ready());
        pace.gives(AT_ONCE - 1);
        assert!(pace.poll_ready(&cx).is_ready());
        pace.gives(1);
        assert!(pace.poll_ready(&cx).is_pending());
        pace.flushed();
        assert!(pace.poll_ready(&cx).is_ready());
    }
}
