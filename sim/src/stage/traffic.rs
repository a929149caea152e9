//! Probes: what clients would notice.
//!
//! Each probe carries its stream, its number and when it was sent. Streams run slowly, and fast
//! around every step, so that an outage is measured to the millisecond and a quiet hour costs
//! little.

use core::net::IpAddr;
use core::time::Duration;

use steadfast_core::Instant;
use steadfast_scenarios::StreamId;
use steadfast_scenarios::format::{Destination, Plan};
use steadfast_scenarios::sight::CALL_PORT;
use steadfast_scenarios::trace::{EventKind, Holder};

use super::world::{Happening, World};
use crate::model::kernel::{Delivered, Outbox};

/// From which port a gateway calls, and where.
const CALL_PORTS: (u16, u16) = (6_975, CALL_PORT);
/// Bytes of a probe: stream, number, time sent.
const PROBE_LEN: usize = 13;

/// All streams in progress.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    streams: Vec<Progress>,
}

#[derive(Clone, Debug)]
struct Progress {
    host: usize,
    destination: Option<Destination>,
    /// From and to.
    ends: Option<(IpAddr, IpAddr)>,
    period: Duration,
    fast: Option<(Duration, Duration)>,
    fast_until: Instant,
    /// Times of known steps: the stream is fast before them too.
    known: Vec<(usize, Instant)>,
    seq: u32,
    due: Option<Instant>,
}

impl Traffic {
    pub(crate) fn new(plan: &Plan) -> Self {
        let progress = |stream: &steadfast_scenarios::format::Stream| Progress {
            host: plan
                .layout
                .host(&stream.from)
                .map_or(0, |host| host.id.index()),
            destination: plan.destination(stream),
            ends: plan.addresses(stream),
            period: stream.rate.period(),
            fast: stream
                .burst
                .map(|burst| (burst.rate.period(), burst.lasting.0)),
            fast_until: Instant::ORIGIN,
            known: Vec::new(),
            seq: 0,
            due: None,
        };
        Self {
            streams: plan.traffic.iter().map(progress).collect(),
        }
    }

    /// A step ran: probes come fast for a while.
    pub(crate) fn burst(&mut self, step: usize, now: Instant) {
        for stream in &mut self.streams {
            stream.known.retain(|(known, _)| *known != step);
            if let Some((_, lasting)) = stream.fast {
                stream.fast_until = stream.fast_until.max(now.after(lasting));
            }
        }
    }
}

impl Progress {
    fn wait(&self, now: Instant) -> Duration {
        let Some((period, lasting)) = self.fast else {
            return self.period;
        };
        let soon = |at: &Instant| *at <= now.after(lasting) && *at >= now;
        if now < self.fast_until || self.known.iter().any(|(_, at)| soon(at)) {
            return period.min(self.period);
        }
        self.period
    }
}

impl World<'_> {
    /// Starts the streams, and learns of steps whose time is now known.
    pub(crate) fn schedule_probes(&mut self) {
        let known: Vec<(usize, Instant)> = self.steps.schedule.times().collect();
        for index in 0..self.traffic.streams.len() {
            let phase = self.traffic.streams[index].due.is_none().then(|| {
                let period = self.traffic.streams[index].period;
                self.drawn(period)
            });
            let stream = &mut self.traffic.streams[index];
            stream.known.clone_from(&known);
            if let Some(phase) = phase {
                let at = self.now.after(phase);
                stream.due = Some(at);
                self.queue.push(at, Happening::Probe { stream: index });
            }
        }
    }

    pub(crate) fn probe_due(&mut self, index: usize) {
        let now = self.now;
        let stream = &mut self.traffic.streams[index];
        let (host, seq, to) = (stream.host, stream.seq, (stream.destination, stream.ends));
        stream.seq += 1;
        let next = now.after(stream.wait(now));
        stream.due = Some(next);
        self.queue.push(next, Happening::Probe { stream: index });
        let id = StreamId(u8::try_from(index).unwrap_or(u8::MAX));
        self.emit(EventKind::ProbeSent { stream: id, seq });
        let mut body = [0; PROBE_LEN];
        body[0] = id.0;
        body[1..5].copy_from_slice(&seq.to_be_bytes());
        body[5..].copy_from_slice(&now.as_nanos().to_be_bytes());
        self.send_probe(host, to, seq, &body);
    }

    fn send_probe(
        &mut self,
        host: usize,
        to: (Option<Destination>, Option<(IpAddr, IpAddr)>),
        seq: u32,
        body: &[u8],
    ) {
        let (Some(destination), Some((source, to))) = to else {
            return;
        };
        let mut out: Outbox = core::mem::take(&mut self.outbox);
        out.clear();
        let kernel = &mut self.hosts[host].kernel;
        match destination {
            Destination::Host(_) => kernel.send_datagram(self.now, source, to, body, &mut out),
            Destination::Virtual(_) => {
                let short = (seq & 0xffff) as u16;
                kernel.ping(self.now, source, to, (short, body), &mut out);
            }
        }
        self.host_sends(host, &mut out);
        self.outbox = out;
    }

    /// A gateway itself calls every host that it has a route to.
    pub(crate) fn call(&mut self, station: usize) {
        if !self.gateways[station].runs() {
            return;
        }
        let plan = std::rc::Rc::clone(&self.plan);
        let mut out: Outbox = core::mem::take(&mut self.outbox);
        for host in plan.layout.hosts.iter().flat_map(|host| &host.addresses) {
            out.clear();
            let kernel = &mut self.gateways[station].kernel;
            kernel.send_unbound(self.now, *host, CALL_PORTS, &mut out);
            self.gateway_sends(station, &mut out);
        }
        self.outbox = out;
    }

    /// A probe reached its end, or its echo came back.
    pub(crate) fn probe_arrived(&mut self, host: usize, delivered: &Delivered) {
        let Some(body) = delivered.payload().first_chunk::<PROBE_LEN>() else {
            return;
        };
        let [stream, s0, s1, s2, s3, rest @ ..] = *body;
        let segment = self.hosts[host].segment;
        let via = match self.holder(segment, Some(delivered.via)) {
            Holder::Gateway(id) => Some(id),
            Holder::Nobody | Holder::Other => None,
        };
        self.emit(EventKind::ProbeReceived {
            stream: StreamId(stream),
            seq: u32::from_be_bytes([s0, s1, s2, s3]),
            sent_at: Instant::from_nanos(u64::from_be_bytes(rest)),
            via,
        });
    }
}
