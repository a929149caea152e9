//! Strangers on their outlets: what [`Stranger`] does, on this world's wires and in its time.

use steadfast_scenarios::format::Verb;
use steadfast_scenarios::stranger::{Deeds, Stranger};

use super::world::{Happening, World};
use crate::model::Frame;

/// The strangers of a world, by segment.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    all: Vec<Stranger>,
    /// When a turn of this segment's is due, if one is.
    scheduled: Vec<Option<steadfast_core::Instant>>,
}

impl World<'_> {
    /// The stranger of a segment, plugged in when first needed.
    fn stranger(&mut self, segment: usize) -> &mut Stranger {
        let strangers = &mut self.strangers;
        for id in self.plan.layout.segments.iter().skip(strangers.all.len()) {
            strangers.all.push(Stranger::new(id.id));
            strangers.scheduled.push(None);
        }
        &mut strangers.all[segment]
    }

    fn outlet(&self, segment: usize) -> Option<usize> {
        let station = self.gateways.len() + self.hosts.len() + segment;
        self.net.place(segment, station)
    }

    fn stranger_puts(&mut self, segment: usize, frame: Vec<u8>) {
        if let Some(place) = self.outlet(segment) {
            self.put(segment, place, &Frame::from(frame));
        }
    }

    /// What is flooded to the free outlet: remembered, and answered by a thief.
    pub(crate) fn stranger_receives(&mut self, segment: usize, frame: &Frame) {
        let now = self.now;
        if let Some(answer) = self.stranger(segment).hear(now, frame) {
            self.stranger_puts(segment, answer);
        }
    }

    /// Begins what a step asks for.
    pub(crate) fn start_stranger(&mut self, segment: usize, verb: &Verb) {
        let (now, plan) = (self.now, std::rc::Rc::clone(&self.plan));
        self.stranger(segment);
        let stranger = &mut self.strangers.all[segment];
        let begun = stranger.begin(now, verb, &plan.layout, &mut self.random);
        let Deeds { frames, elsewhere } = begun;
        let place = if elsewhere {
            self.other_outlet(segment).unwrap_or(segment)
        } else {
            segment
        };
        for frame in frames {
            self.stranger_puts(place, frame);
        }
        self.schedule_stranger(segment);
    }

    fn other_outlet(&self, segment: usize) -> Option<usize> {
        let mut others = (0..self.net.media.len()).filter(|other| *other != segment);
        others.find(|other| self.outlet(*other).is_some())
    }

    /// Everything that is due of what a stranger is at.
    pub(crate) fn stranger_due(&mut self, segment: usize) {
        let (now, plan) = (self.now, std::rc::Rc::clone(&self.plan));
        self.strangers.scheduled[segment] = None;
        let stranger = &mut self.strangers.all[segment];
        for frame in stranger.due(now, &plan.layout, &mut self.random) {
            self.stranger_puts(segment, frame);
        }
        self.schedule_stranger(segment);
    }

    fn schedule_stranger(&mut self, segment: usize) {
        let next = self.strangers.all[segment].next_deadline();
        let scheduled = &mut self.strangers.scheduled[segment];
        if let Some(at) = next
            && scheduled.is_none_or(|known| at < known)
        {
            *scheduled = Some(at);
            self.queue.push(at, Happening::Stranger { index: segment });
        }
    }
}
