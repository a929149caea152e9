//! Which gateways the world itself declares barred by their boots (R12.1): reckoned from the boots
//! it carried out, never from what a node says. The same reckoning as in the simulated worlds:
//! unclean boots whose uptimes add up to less than the window count; one in order, or a sum beyond
//! the window, ends the count.

use core::time::Duration;

use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::format::{AllPacified, Plan};

/// The boots of all gateways.
#[derive(Clone, Debug)]
pub(super) struct Reckonings {
    gateways: Vec<Reckoning>,
    window: Duration,
    limit: u32,
    restart_limit: usize,
    serve_if_all: bool,
}

#[derive(Clone, Debug)]
struct Reckoning {
    id: NodeId,
    /// Ended boots: uptime, and whether they ended in order.
    past: Vec<(Duration, bool)>,
    booted_at: Option<Instant>,
    /// Starts of the daemon in this boot after a crash.
    restarts: Vec<Instant>,
    /// Whether the daemon's last life in this boot ended in order; none before the first.
    ended: Option<bool>,
    barred: bool,
    said: bool,
}

impl Reckonings {
    pub(super) fn new(plan: &Plan) -> Self {
        let gateway = |gateway: &steadfast_scenarios::format::Gateway| Reckoning {
            id: gateway.id,
            past: plan
                .gateway(&gateway.name)
                .boots
                .iter()
                .map(|boot| (boot.uptime.0, boot.clean))
                .collect(),
            booted_at: None,
            restarts: Vec::new(),
            ended: None,
            barred: false,
            said: false,
        };
        Self {
            gateways: plan.layout.gateways.iter().map(gateway).collect(),
            window: plan.cluster.boot_window.0,
            limit: u32::from(plan.cluster.boot_limit),
            restart_limit: usize::from(plan.cluster.restart_limit),
            serve_if_all: plan.cluster.all_pacified == AllPacified::Serve,
        }
    }

    /// A gateway is up; gives back whose bar changed.
    pub(super) fn booted(&mut self, id: NodeId, now: Instant) -> Vec<(NodeId, bool)> {
        let (window, limit) = (self.window, self.limit);
        if let Some(it) = self.find(id) {
            it.booted_at = Some(now);
            it.restarts.clear();
            it.ended = None;
            let stays = it.barred
                && it
                    .past
                    .last()
                    .is_none_or(|(uptime, clean)| !clean || *uptime < window);
            it.barred = stays || it.count(window) > limit;
        }
        self.changes()
    }

    /// A gateway's boot is over.
    pub(super) fn ended(&mut self, id: NodeId, now: Instant, clean: bool) {
        if let Some(it) = self.find(id)
            && let Some(since) = it.booted_at.take()
        {
            it.past.push((now.since(since), clean));
        }
    }

    /// A daemon begins. Too many that follow a crash bar their gateway, too.
    pub(super) fn started(&mut self, id: NodeId, now: Instant) -> Vec<(NodeId, bool)> {
        let (window, limit) = (self.window, self.restart_limit);
        if let Some(it) = self.find(id) {
            match it.ended.take() {
                Some(true) => it.restarts.clear(),
                Some(false) => it.restarts.push(now),
                None => {}
            }
            let within = it.restarts.iter().filter(|at| now.since(**at) <= window);
            it.barred |= within.count() > limit;
        }
        self.changes()
    }

    /// A daemon's life is over.
    pub(super) fn stopped(&mut self, id: NodeId, in_order: bool) {
        if let Some(it) = self.find(id) {
            it.ended = Some(in_order);
        }
    }

    /// An operator's word ends a bar.
    pub(super) fn cleared(&mut self, id: NodeId) -> Vec<(NodeId, bool)> {
        if let Some(it) = self.find(id) {
            it.barred = false;
            it.past.clear();
            it.restarts.clear();
        }
        self.changes()
    }

    fn find(&mut self, id: NodeId) -> Option<&mut Reckoning> {
        self.gateways.iter_mut().find(|it| it.id == id)
    }

    fn changes(&mut self) -> Vec<(NodeId, bool)> {
        let all = self.gateways.iter().all(|it| it.barred);
        let exempt = all && self.serve_if_all;
        let mut changes = Vec::new();
        for it in &mut self.gateways {
            let barred = it.barred && !exempt;
            if it.said != barred {
                it.said = barred;
                changes.push((it.id, barred));
            }
        }
        changes
    }
}

impl Reckoning {
    /// Boots in a row, this one included, that count.
    fn count(&self, window: Duration) -> u32 {
        let mut sum = Duration::ZERO;
        let mut count = 1;
        for (uptime, clean) in self.past.iter().rev() {
            sum += *uptime;
            if *clean || sum >= window {
                break;
            }
            count += 1;
        }
        count
    }
}
