//! Waiting for a change: a status that is answered when it differs from the one a client knows.
//!
//! Every answer to `GET /v1/status` has a `mark` of what it says of the node's role and of its
//! alerts. Whoever asks with `?after=MARK` is answered when that is another one, at the latest
//! after `&wait=MS`; so a monitor, or a script, knows of a change of role when it happens (of an
//! alert within a tenth of a second) and asks some times a minute instead of some times a second.
//!
//! The hard case is a daemon that was started again: its marks are others, so a client that knows
//! one of before is answered at once. The limit: of changes that follow one another faster than
//! control's thread is woken, the last is told; the journal has them all. Of more than
//! [`FOLLOWERS_MAX`] the rest are answered at once, for connections are few: a client that gets
//! the mark it knows pauses before it asks again.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use serde_json::json;
use steadfast_core::status::Status;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Clients that may wait at a time.
pub(super) const FOLLOWERS_MAX: usize = 16;
/// The longest wait, and the usual one.
pub const FOLLOW_WAIT_MAX: Duration = Duration::from_secs(5);

/// What a client knows, and how long it waits for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    after: String,
    wait: Duration,
}

impl Asked {
    /// From the query of a request: none asks for what there is; else what is wrong, in words.
    pub(super) fn of(uri: &Uri) -> Result<Option<Self>, String> {
        let (mut after, mut wait) = (None, FOLLOW_WAIT_MAX);
        for pair in uri.query().unwrap_or_default().split('&') {
            match pair.split_once('=') {
                None if pair.is_empty() => {}
                Some(("after", mark)) => after = Some(mark.to_owned()),
                Some(("wait", text)) => {
                    let millis = text.parse();
                    let millis = millis.map_err(|_| format!("no milliseconds: wait={text}"))?;
                    wait = FOLLOW_WAIT_MAX.min(Duration::from_millis(millis));
                }
                Some(_) | None => return Err(format!("{pair} is not known here")),
            }
        }
        Ok(after.map(|after| Self { after, wait }))
    }
}

/// What a status says of the role and of alerts, as 16 hexadecimal digits.
pub(super) fn mark(status: &Status) -> String {
    let role = (status.role, status.since, status.epoch, &status.why_text);
    let alerts = status.recent_alerts.last().map(|last| last.number);
    let said = json!([role, status.open_alerts, alerts]);
    let hash = blake3::hash(said.to_string().as_bytes()).to_hex();
    hash.get(..16).unwrap_or_default().to_owned()
}

/// Returns when the status has another mark than the client knows, or the client has waited long
/// enough; at once without a place to wait, or when the driver has ended.
pub(super) async fn wait_for_change(
    mut statuses: watch::Receiver<Arc<Status>>,
    places: &Semaphore,
    asked: &Asked,
) {
    let Ok(_place) = places.try_acquire() else {
        return;
    };
    let changed = async {
        loop {
            // Looked at when the lock is let go: the driver publishes through it.
            let newest = Arc::clone(&statuses.borrow_and_update());
            // An ended driver changes nothing any more: what it said last is answered at once.
            if mark(&newest) != asked.after || statuses.changed().await.is_err() {
                return;
            }
        }
    };
    let _ = timeout(asked.wait, changed).await;
}

#[cfg(test)]
mod tests {
    use core::future::{Future, poll_fn};
    use core::pin::{Pin, pin};
    use core::task::Poll;

    use crate::journal::tests::pair;
    use steadfast_core::{Instant, Node};

    use super::*;

    /// Whether it is over when it is looked at.
    async fn is_over(mut it: Pin<&mut impl Future<Output = ()>>) -> bool {
        poll_fn(|cx| Poll::Ready(it.as_mut().poll(cx).is_ready())).await
    }

    /// It waits while nothing changes, is over when something does, and never waits without a
    /// place or a driver.
    #[test]
    fn control_follower_waits_for_a_change_and_no_longer() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(async {
            let node = Node::new(pair::config(0), pair::origin_boot(1));
            let status = node.status(Instant::ORIGIN);
            let (after, wait) = (mark(&status), FOLLOW_WAIT_MAX);
            let (sender, statuses) = watch::channel(Arc::new(status.clone()));
            let (asked, places) = (Asked { after, wait }, Semaphore::new(1));
            let mut waiting = pin!(wait_for_change(statuses.clone(), &places, &asked));
            assert!(!is_over(waiting.as_mut()).await);
            sender.send_replace(Arc::new(status.clone()));
            assert!(!is_over(waiting.as_mut()).await, "it says the same");
            let crowded = pin!(wait_for_change(statuses.clone(), &places, &asked));
            assert!(is_over(crowded).await, "no place is left");
            let mut other = status.clone();
            other.why_text.push('!');
            sender.send_replace(Arc::new(other));
            assert!(is_over(waiting).await);
            sender.send_replace(Arc::new(status));
            drop(sender);
            let ended = pin!(wait_for_change(statuses, &places, &asked));
            assert!(is_over(ended).await, "the driver has ended");
        });
    }

    fn asked(query: &str) -> Result<Option<Asked>, String> {
        Asked::of(&format!("/v1/status{query}").parse().unwrap())
    }

    /// Without a mark nobody waits; a wait has a bound; what is not known is told.
    #[test]
    fn control_follow_query_is_read_within_bounds() {
        assert_eq!(asked(""), Ok(None));
        assert_eq!(asked("?wait=3"), Ok(None));
        let after = |wait| {
            let after = "00ff".to_owned();
            Ok(Some(Asked { after, wait }))
        };
        assert_eq!(asked("?after=00ff"), after(FOLLOW_WAIT_MAX));
        assert_eq!(
            asked("?after=00ff&wait=20"),
            after(Duration::from_millis(20))
        );
        assert_eq!(asked("?wait=999999&after=00ff"), after(FOLLOW_WAIT_MAX));
        for wrong in ["?after", "?before=1", "?after=1&wait=soon", "?wait=-1"] {
            asked(wrong).unwrap_err();
        }
    }
}
