//! Conversations that wait for their client. There are only so many places, and whoever has said or taken nothing for longest
//! makes way for the next: a thousand clients that say nothing keep nobody from being heard.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;

#[derive(Default, Clone)]
pub struct Waiting(Rc<RefCell<Waits>>);

#[derive(Default)]
struct Waits {
    next: u64,
    /// The longest wait has the smallest number. Dropping the sender ends the wait.
    since: BTreeMap<u64, oneshot::Sender<()>>,
}

/// Takes a wait off the list, however it ends.
struct Listed<'a>(&'a Waiting, u64);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.0.borrow_mut().since.remove(&self.1);
    }
}

impl Waiting {
    /// What a client does, unless it takes too long for that or has to make way.
    ///
    /// # Errors
    /// Its own, and `TimedOut`.
    pub async fn on<T>(&self, patience: Duration, client: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let (listed, dismissed) = self.list();
        let result = tokio::select! {
            biased;
            result = client => result,
            _ = dismissed => Err(ErrorKind::TimedOut.into()),
            () = tokio::time::sleep(patience) => Err(ErrorKind::TimedOut.into()),
        };
        drop(listed);
        result
    }

    /// Ends the longest wait.
    pub fn dismiss_one(&self) {
        self.0.borrow_mut().since.pop_first();
    }

    fn list(&self) -> (Listed<'_>, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let mut waits = self.0.borrow_mut();
        let number = waits.next;
        waits.next += 1;
        waits.since.insert(number, sender);
        (Listed(self, number), receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn whoever_waits_longest_makes_way_and_nobody_else() {
        let waiting = Waiting::default();
        let silent = || async { std::future::pending::<io::Result<()>>().await };
        let mut first = Box::pin(waiting.on(LONG, silent()));
        let mut second = Box::pin(waiting.on(LONG, silent()));
        tokio::select! { biased; _ = &mut first => unreachable!(), _ = &mut second => unreachable!(), () = std::future::ready(()) => {} }
        assert_eq!(waiting.on(LONG, async { Ok(7) }).await.expect("it spoke"), 7);
        waiting.dismiss_one();
        assert_eq!(first.await.expect_err("dismissed").kind(), ErrorKind::TimedOut);
        tokio::select! { biased; _ = &mut second => unreachable!("it still may speak"), () = std::future::ready(()) => {} }
        assert_eq!(waiting.0.borrow().since.len(), 1);
        drop(second);
        assert!(waiting.0.borrow().since.is_empty());
        waiting.dismiss_one();
    }
}
