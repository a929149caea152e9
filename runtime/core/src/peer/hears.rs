//! What a peer hears, by its last word: this node, others, and what that says of those.
//!
//! Every advertisement echoes, by counter, what its sender heard of each node on each path (D1). So
//! a node knows whether it is heard and where, and of each other node whether somebody has heard
//! more of it than this node has (D13).

use super::Peer;
use crate::wire::advert::Echo;
use crate::{BootId, NodeId, PortId};

/// How many messages of another a peer may not have told of yet and still hears it: what came
/// between two of its own, with a burst of questions in between.
pub(crate) const BEHIND_MAX: u64 = 16;

impl Peer {
    /// Whether this peer hears another one, by its last word: all but the last few messages that
    /// reached this node.
    pub(crate) fn hears_peer(&self, other: &Self) -> bool {
        let (Some(latest), Some(session)) = (&self.latest, other.session) else {
            return false;
        };
        let of_other = |echo: &&Echo| echo.node == other.node && echo.boot == session.boot;
        let echo = latest.echoes.iter().find(of_other);
        let newest = echo.and_then(|echo| echo.heard.iter().map(|heard| heard.counter).max());
        newest.is_some_and(|newest| newest.saturating_add(BEHIND_MAX) >= session.newest)
    }

    /// A third party told what it hears of this peer. True if that is newer than everything that
    /// was heard of this life before, by this node or by another (D13).
    pub(crate) fn vouched_for(&mut self, echo: &Echo) -> bool {
        let Some(session) = self.session.filter(|it| it.boot == echo.boot) else {
            return false;
        };
        let newest = echo.heard.iter().map(|heard| heard.counter).max();
        let newest = newest.unwrap_or(0);
        let is_news = newest > session.newest.max(self.vouched);
        self.vouched = self.vouched.max(newest);
        is_news
    }

    /// Whether a third party has heard a newer word of this life than this node (D13): what it says
    /// may be that the peer has claimed.
    pub(crate) fn is_outheard(&self) -> bool {
        self.session.is_some_and(|it| self.vouched > it.newest)
    }

    /// Whether the peer has heard a message of ours numbered `counter` or later, in this life.
    pub(crate) fn has_heard(&self, own: NodeId, boot: BootId, counter: u64) -> bool {
        let echoes = self.latest.as_ref().map(|latest| &latest.echoes);
        echoes
            .and_then(|list| list.iter().find(|echo| echo.node == own))
            .is_some_and(|echo| {
                echo.boot == boot && echo.heard.iter().any(|heard| heard.counter >= counter)
            })
    }

    /// The newest message of this node, in this life, that the peer has heard, by its last word.
    pub(crate) fn newest_heard(&self, own: NodeId, boot: BootId) -> Option<u64> {
        let echoes = &self.latest.as_ref()?.echoes;
        let echo = echoes.iter().find(|it| it.node == own && it.boot == boot)?;
        echo.heard.iter().map(|heard| heard.counter).max()
    }

    /// The newest message of this node, in this life, that the peer has heard on a path.
    pub(crate) fn heard_there(&self, own: NodeId, boot: BootId, port: PortId) -> Option<u64> {
        self.latest.as_ref()?.heard_counter(own, boot, port)
    }

    /// Whether the peer hears this node on a path, by its last word: it is not more than `behind`
    /// messages behind what it hears on its best path. None while it says nothing of this life.
    pub(crate) fn hears_on(
        &self,
        own: NodeId,
        boot: BootId,
        port: PortId,
        behind: u64,
    ) -> Option<bool> {
        let echoes = &self.latest.as_ref()?.echoes;
        let echo = echoes.iter().find(|it| it.node == own && it.boot == boot)?;
        let newest = echo.heard.iter().map(|heard| heard.counter).max()?;
        let there = echo.heard.iter().find(|heard| heard.path == port);
        Some(there.is_some_and(|heard| heard.counter.saturating_add(behind) >= newest))
    }
}
