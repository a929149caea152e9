//! Running the nodes: frames in, effects out, in the order the production shell keeps (D6).

use core::time::Duration;

use steadfast_core::effect::{Effect, Input};
use steadfast_core::{Instant, PortId, Rule};
use steadfast_scenarios::format::Check;
use steadfast_scenarios::trace::EventKind;
use steadfast_scenarios::trace::capture::Direction;

use super::gateway::{DRAIN_MAX, Order};
use super::world::{Happening, World};
use crate::model::Frame;
use crate::model::kernel::{Outbox, Transmitted};

/// From a frame in the kernel to the daemon's hands: 9 µs measured, and the scheduler.
pub(crate) const WAKE_LATENCY: Duration = Duration::from_micros(9);
const WAKE_JITTER: Duration = Duration::from_micros(60);
/// Most turns of effects and their immediate consequences in one wake.
const PUMP_MAX: usize = 8;

impl World<'_> {
    /// A frame reaches a gateway: its kernel, and the sockets of its daemon.
    pub(crate) fn gateway_receives(&mut self, station: usize, port: PortId, frame: &Frame) {
        if !self.gateways[station].runs() {
            return;
        }
        self.record(station, port, Direction::Inbound, frame);
        let mut out = core::mem::take(&mut self.outbox);
        out.clear();
        self.gateways[station]
            .kernel
            .receive(self.now, port, frame, &mut out);
        let now = self.now;
        if let Some(daemon) = &mut self.gateways[station].daemon {
            for (port, frame) in out.captured.drain(..) {
                daemon.push_frame(usize::from(port.0), now, frame);
            }
        }
        self.gateway_sends(station, &mut out);
        self.outbox = out;
        self.wake_soon(station);
    }

    /// Puts on the wire what a gateway's kernel produced.
    pub(crate) fn gateway_sends(&mut self, station: usize, out: &mut Outbox) {
        for (port, frame) in out.frames.drain(..) {
            self.gateway_puts(station, port, &frame);
        }
        let next = self.gateways[station].kernel.next_change(self.now);
        self.schedule_tick(station, next);
    }

    fn gateway_puts(&mut self, station: usize, port: PortId, frame: &Frame) {
        let segment = usize::from(port.0);
        self.record(station, port, Direction::Outbound, frame);
        self.watch_frame(station, segment, frame);
        if let Some(players) = &mut self.players {
            players.carry_up(station, segment, frame);
        } else if let Some(place) = self.net.place(segment, station) {
            self.put(segment, place, frame);
        }
    }

    fn record(&self, station: usize, port: PortId, direction: Direction, frame: &Frame) {
        if let Some(tap) = &self.tap {
            tap.frame(station, port, self.now, direction, frame);
        }
    }

    /// The daemon sends a frame through its packet socket.
    pub(crate) fn transmit(&mut self, station: usize, port: PortId, frame: &[u8]) -> Transmitted {
        let kernel = &mut self.gateways[station].kernel;
        let sent = kernel.transmit(self.now, port, frame);
        if sent == Transmitted::Sent {
            self.gateway_puts(station, port, &Frame::from(frame));
        }
        sent
    }

    /// Lets the daemon look at its sockets in a moment, unless it will do so earlier.
    pub(crate) fn wake_soon(&mut self, station: usize) {
        if let Some(seat) = self.gateways[station]
            .awake(None)
            .and_then(super::gateway::Daemon::seat)
        {
            seat.wake();
            return;
        }
        let at = self.now.after(WAKE_LATENCY + self.drawn(WAKE_JITTER));
        self.wake_at(station, at);
    }

    pub(crate) fn wake_at(&mut self, station: usize, at: Instant) {
        let daemon = self.gateways[station].awake(None);
        let Some((wake_at, life)) = daemon.and_then(super::gateway::Daemon::wakes) else {
            return;
        };
        if wake_at.is_none_or(|known| at < known) {
            *wake_at = Some(at);
            self.queue.push(
                at,
                Happening::Wake {
                    gateway: station,
                    life,
                },
            );
        }
    }

    /// One turn of the daemon: orders and links, sockets, completions, deadline.
    pub(crate) fn wake(&mut self, station: usize, life: u64) {
        let now = self.now;
        let Some(daemon) = self.gateways[station].turns(Some(life)) else {
            self.wake_routers(station, life);
            return;
        };
        if daemon.wake_at.is_some_and(|at| at > now) {
            return;
        }
        daemon.wake_at = None;
        if !self.rules.keep(Rule::D6) {
            self.turn_deadline(station, life);
        }
        self.turn_orders(station, life);
        self.turn_sockets(station, life);
        self.turn_completions(station, life);
        self.turn_deadline(station, life);
        self.tell_status(station);
        self.tell_hooks(station);
        let Some(daemon) = self.gateways[station].turns(Some(life)) else {
            return;
        };
        if let Some(deadline) = daemon.node.next_deadline() {
            let at = deadline.max(now).after(WAKE_LATENCY);
            self.wake_at(station, at);
        }
    }

    fn turn_orders(&mut self, station: usize, life: u64) {
        let now = self.now;
        while let Some(daemon) = self.gateways[station].turns(Some(life)) {
            let Some(order) = daemon.orders.pop_front() else {
                return;
            };
            if let Order::Reload(config) = order {
                self.reload_wished(station, life, config);
                continue;
            }
            let Some(daemon) = self.gateways[station].turns(Some(life)) else {
                return;
            };
            let input = match order {
                // Done above.
                Order::Reload(_) => continue,
                Order::Certificate(certificate) => Input::CertificateRead { certificate },
                Order::Checked(name, passed) => match daemon.node.check_id(&name) {
                    Some(check) => Input::Checked { check, passed },
                    None => continue,
                },
                Order::Command(request, command) => Input::CommandReceived { request, command },
                Order::Fence(whole) => Input::FenceChecked { whole },
                Order::Link(port, up) => Input::LinkChanged { port, up },
                Order::Shutdown => Input::Shutdown,
            };
            daemon.node.handle(now, input);
            self.pump(station, life);
        }
    }

    /// Socket by socket, as a real daemon reads them: what waits on the second is older than what
    /// was read last from the first.
    fn turn_sockets(&mut self, station: usize, life: u64) {
        let now = self.now;
        for index in 0..self.configs[station].ports.len() {
            let port = self.configs[station].ports[index].id;
            for _ in 0..DRAIN_MAX {
                let Some(daemon) = self.gateways[station].awake(Some(life)) else {
                    return;
                };
                let waiting = daemon.sockets[usize::from(port.0)].pop_front();
                let (Some((at, frame)), Some(turns)) = (waiting, daemon.turns()) else {
                    break;
                };
                turns.node.handle(
                    now,
                    Input::FrameReceived {
                        port,
                        frame: &frame,
                        at,
                    },
                );
                self.pump(station, life);
            }
        }
    }

    fn turn_completions(&mut self, station: usize, life: u64) {
        let now = self.now;
        while let Some(daemon) = self.gateways[station].turns(Some(life)) {
            let Some((op, outcome)) = daemon.completions.pop_front() else {
                return;
            };
            daemon.node.handle(now, Input::Completed { op, outcome });
            self.pump(station, life);
        }
    }

    fn turn_deadline(&mut self, station: usize, life: u64) {
        let now = self.now;
        if let Some(daemon) = self.gateways[station].turns(Some(life))
            && daemon
                .node
                .next_deadline()
                .is_some_and(|deadline| deadline <= now)
        {
            daemon.node.handle(now, Input::DeadlineReached);
            self.pump(station, life);
        }
    }

    /// Carries out a node's effects, and tells it at once of frames its lease guard refused.
    pub(crate) fn pump(&mut self, station: usize, life: u64) {
        for _ in 0..PUMP_MAX {
            let mut refused = Vec::new();
            while let Some(daemon) = self.gateways[station].turns(Some(life)) {
                let Some(effect) = daemon.node.poll_effect() else {
                    break;
                };
                self.carry_out(station, effect, &mut refused);
            }
            if refused.is_empty() {
                break;
            }
            let now = self.now;
            for port in refused {
                if let Some(daemon) = self.gateways[station].turns(Some(life)) {
                    daemon.node.handle(now, Input::TransmitRefused { port });
                }
            }
        }
        let next = self.gateways[station].kernel.next_change(self.now);
        self.schedule_tick(station, next);
    }

    fn carry_out(&mut self, station: usize, effect: Effect, refused: &mut Vec<PortId>) {
        match effect {
            Effect::Transmit { port, frame } => {
                if self.transmit(station, port, &frame) == Transmitted::Refused {
                    refused.push(port);
                }
            }
            Effect::Apply { op, desired, .. } => self.apply_wished(station, op, desired),
            Effect::Persist { op, record } => self.persist_wished(station, op, record),
            Effect::Alert(alert) => self.tell_alert(station, alert),
            Effect::Reply { .. } => {}
            Effect::Stopped => self.daemon_ended(station),
        }
    }

    /// Whether frames wait for this life of a daemon.
    pub(crate) fn has_frames(&mut self, station: usize, life: u64) -> bool {
        let daemon = self.gateways[station].awake(Some(life));
        daemon.is_some_and(|daemon| daemon.sockets.iter().any(|socket| !socket.is_empty()))
    }

    /// Takes the next frame that waits for this life of a daemon, socket by socket.
    pub(crate) fn take_frame(
        &mut self,
        station: usize,
        life: u64,
    ) -> Option<(PortId, Instant, Frame)> {
        let daemon = self.gateways[station].awake(Some(life))?;
        let sockets = daemon.sockets.iter_mut().zip(&self.configs[station].ports);
        let mut waiting = sockets.filter_map(|(socket, port)| {
            let (at, frame) = socket.pop_front()?;
            Some((port.id, at, frame))
        });
        waiting.next()
    }

    /// Tells what daemons hold, if a story asks for it.
    pub(crate) fn tell_held(&mut self) {
        let plan = std::rc::Rc::clone(&self.plan);
        let mut checks = plan.expects.iter().map(|it| &it.check);
        if !checks.any(|it| matches!(it, Check::Bounded { .. })) {
            return;
        }
        for station in 0..self.gateways.len() {
            let Some(daemon) = &self.gateways[station].daemon else {
                continue;
            };
            let frames = daemon.sockets.iter().flatten();
            let unread: usize = frames.map(|(_, frame)| frame.len()).sum();
            self.emit(EventKind::Holds {
                gateway: self.id(station),
                unread: u64::try_from(unread).unwrap_or(u64::MAX),
                resident: None,
            });
        }
    }

    /// The number of a gateway on the wire.
    pub(crate) fn id(&self, station: usize) -> steadfast_core::NodeId {
        self.plan.layout.gateways[station].id
    }
}
