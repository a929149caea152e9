//! Steps that take time: what is left of them, and their next turn.

use core::time::Duration;

use steadfast_core::Instant;
use steadfast_core::effect::Command;
use steadfast_scenarios::format::Way;
use steadfast_scenarios::trace::ProcessState;

use super::gateway::{ApplyMode, Body};
use super::world::{Happening, World};

/// What is left of a step that takes time.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    /// An operator's command reaches the daemon.
    Command { gateway: usize, command: Command },
    /// The daemon goes on.
    Cont { gateway: usize },
    /// Filters on these ends are lifted.
    EndFilter { ends: Vec<(usize, usize)> },
    /// The ports change their state again.
    Flap {
        ends: Vec<(usize, usize)>,
        left: u32,
        down: Duration,
        up: Duration,
    },
    /// The kernel obeys at once again.
    Obey { gateway: usize },
    /// Power goes, and comes back in a moment, so many times more.
    RebootLoop {
        gateway: usize,
        left: u32,
        uptime: Duration,
    },
    /// Power comes.
    PowerOn { gateway: usize },
    /// The daemon is given, or denied, the processor.
    Starve {
        gateway: usize,
        on: Duration,
        off: Duration,
        until: Instant,
        runs: bool,
    },
}

impl World<'_> {
    /// The daemon is stopped and does not know it.
    pub(crate) fn stop(&mut self, gateway: usize) {
        if let Some(daemon) = &mut self.gateways[gateway].daemon {
            daemon.stopped = true;
            if let Some(seat) = daemon.seat() {
                seat.stop(true);
            }
            self.tell_process(gateway, ProcessState::Stopped);
        }
    }

    /// The daemon goes on, and its threads finish what they had begun.
    pub(crate) fn cont(&mut self, gateway: usize) {
        let daemon = self.gateways[gateway].daemon.as_ref();
        if daemon.is_some_and(|it| it.stopped) {
            self.tell_process(gateway, ProcessState::Running);
            self.go_on(gateway);
        }
    }

    /// The daemon gets its turns again.
    pub(crate) fn go_on(&mut self, gateway: usize) {
        let now = self.now;
        let Some(daemon) = self.gateways[gateway].daemon.as_mut() else {
            return;
        };
        daemon.stopped = false;
        let life = daemon.life;
        let (mut apply, mut persist, mut reload, mut wishes) = (None, None, false, 0);
        match &mut daemon.body {
            Body::Routers(routers) => wishes = routers.go_on(),
            Body::Seat(seat) => seat.stop(false),
            Body::Turns(turns) => {
                turns.wake_at = None;
                apply = turns.apply.as_ref().map(|waiting| waiting.op);
                persist = turns.persist.as_ref().map(|waiting| waiting.op);
                reload = turns.reload.is_some();
            }
        }
        for _ in 0..wishes {
            self.queue
                .push(now, Happening::RouterWish { gateway, life });
        }
        if let Some(op) = apply {
            self.queue
                .push(now, Happening::ApplyDue { gateway, life, op });
        }
        if let Some(op) = persist {
            self.queue
                .push(now, Happening::PersistDue { gateway, life, op });
        }
        if reload {
            self.queue.push(now, Happening::ReloadDue { gateway, life });
        }
        self.queue
            .push(now, Happening::EachSecond { gateway, life });
        self.begin_checks(gateway, life);
        self.see_links(gateway);
        self.wake_soon(gateway);
    }

    /// The next part of a step that takes time.
    pub(crate) fn turn_due(&mut self, turn: Turn) {
        let next = match turn {
            Turn::Command { gateway, command } => {
                self.command(gateway, command);
                None
            }
            Turn::Cont { gateway } => {
                self.cont(gateway);
                None
            }
            Turn::EndFilter { ends } => {
                self.links(&ends, Way::Both, |link| link.filter.clear());
                None
            }
            Turn::Flap {
                ends,
                left,
                down,
                up,
            } => {
                let on = left % 2 == 1;
                self.enable(&ends, on);
                let wait = if on { up } else { down };
                let turn = Turn::Flap {
                    ends,
                    left: left.saturating_sub(1),
                    down,
                    up,
                };
                (left > 1).then(|| again(self.now.after(wait), turn))
            }
            Turn::Obey { gateway } => {
                self.gateways[gateway].apply = ApplyMode::Ok;
                self.gateways[gateway].kernel.hold_filter(self.now, false);
                None
            }
            Turn::PowerOn { gateway } => {
                self.power_on(gateway);
                None
            }
            Turn::RebootLoop {
                gateway,
                left,
                uptime,
            } => {
                self.reboot(gateway, false);
                let turn = Turn::RebootLoop {
                    gateway,
                    left: left.saturating_sub(1),
                    uptime,
                };
                let wait = uptime + super::power::DARK + super::power::BOOT_TIME;
                (left > 1).then(|| again(self.now.after(wait), turn))
            }
            Turn::Starve { .. } => self.starve(&turn),
        };
        if let Some((at, happening)) = next {
            self.queue.push(at, happening);
        }
        self.net.settle(self.now);
        self.carriers_changed();
    }

    /// The daemon is given the processor, or denied it, for a while.
    fn starve(&mut self, turn: &Turn) -> Option<(Instant, Happening)> {
        let Turn::Starve {
            gateway,
            on,
            off,
            until,
            runs,
        } = *turn
        else {
            return None;
        };
        if !runs || self.now >= until {
            self.cont(gateway);
        } else {
            self.stop(gateway);
        }
        let wait = if runs { off } else { on };
        let turn = Turn::Starve {
            gateway,
            on,
            off,
            until,
            runs: !runs,
        };
        (self.now < until).then(|| again(self.now.after(wait), turn))
    }
}

fn again(at: Instant, turn: Turn) -> (Instant, Happening) {
    (at, Happening::Turn { turn })
}
