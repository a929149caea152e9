//! Alerts: each is raised once per episode (R10.1), and an episode ends.
//!
//! What the node finds out about itself and its peers it ends itself, by [`Node::clear`].
//! Strangers, and those who use this node's station, just stop, so their episodes end when they
//! have not been seen for [`UNSEEN_MAX`], and the next time is news again. The limit:
//! [`RAISED_MAX`] strangers at once.

use core::time::Duration;

use super::{Node, RAISED_MAX};
use crate::Instant;
use crate::effect::{Alert, Effect};
use crate::role::EffectiveRole;
use crate::status::{RECENT_ALERTS_MAX, RecentAlert};

/// A stranger not seen for so long is gone: longer than the slowest VRRP speaker advertises (255 s,
/// RFC 3768 section 5.3.7), so that one that goes on is one episode.
const UNSEEN_MAX: Duration = Duration::from_secs(300);

/// An alert that was raised and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Episode {
    alert: Alert,
    /// When its cause was last seen.
    seen_at: Instant,
}

impl Episode {
    /// What was raised.
    pub(super) const fn alert(&self) -> Alert {
        self.alert
    }
}

impl Node {
    /// Raises an alert, once per episode. Strangers can open only so many episodes.
    pub(super) fn raise(&mut self, alert: Alert) {
        let now = self.now;
        if let Some(open) = self.raised.iter_mut().find(|open| open.alert == alert) {
            open.seen_at = now;
            return;
        }
        let strangers = self.raised.iter().filter(|open| strange(&open.alert));
        if strange(&alert) && strangers.count() >= RAISED_MAX {
            return;
        }
        self.raised.push(Episode {
            alert,
            seen_at: now,
        });
        self.tell(alert);
    }

    /// An alert leaves the node, and is remembered for a while.
    pub(super) fn tell(&mut self, alert: Alert) {
        if self.alerts_told.len() >= RECENT_ALERTS_MAX {
            self.alerts_told.pop_front();
        }
        let number = self.alerts_told.back().map_or(1, |last| last.number + 1);
        let at = self.now;
        self.alerts_told
            .push_back(RecentAlert { number, at, alert });
        self.emit(Effect::Alert(alert));
    }

    /// An episode that goes on under another name: it is no news.
    pub(super) fn reopen(&mut self, alert: Alert) {
        let seen_at = self.now;
        self.raised.push(Episode { alert, seen_at });
    }

    pub(super) fn is_raised(&self, alert: &Alert) -> bool {
        self.raised.iter().any(|open| open.alert == *alert)
    }

    /// Ends an episode.
    pub(super) fn clear(&mut self, over: impl Fn(&Alert) -> bool) {
        self.raised.retain(|open| !over(&open.alert));
    }

    /// Ends the episodes of those that are gone.
    pub(super) fn forget_strangers(&mut self) {
        let now = self.now;
        self.raised
            .retain(|open| !stops(&open.alert) || now.since(open.seen_at) < UNSEEN_MAX);
    }

    /// For a node that does not serve there are no two actives: the next time is news.
    pub(super) fn forget_splits(&mut self) {
        if self.role == EffectiveRole::Standby {
            self.clear(|alert| matches!(alert, Alert::SplitBrain { .. }));
        }
    }
}

/// Nobody says that its cause is over.
fn stops(alert: &Alert) -> bool {
    strange(alert) || matches!(alert, Alert::StationUsed { .. })
}

/// The cause is a station that is no node of the cluster, or pretends to be one.
fn strange(alert: &Alert) -> bool {
    matches!(
        alert,
        Alert::AddressConflict { .. } | Alert::DuplicateNodeId | Alert::ForeignSpeaker { .. }
    )
}
